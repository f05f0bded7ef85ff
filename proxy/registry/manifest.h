// What a manifest says: its media type and the objects it lists (protocol.md §7.4). The bytes come
// from outside and are hostile: size, depth and counts are bounded. Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/digest.h"
#include "runtime/result.h"

namespace layerd::registry {

inline constexpr std::size_t kMostManifestBytes = 4u << 20;
inline constexpr std::size_t kMostDescriptors = 1000;
inline constexpr int kMostIndexDepth = 4;  // index in index; kept by whoever walks

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json";
inline constexpr std::string_view kDockerSchema1Signed =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
// The Accept header every upstream is asked with: one canonical answer is cached.
std::string_view full_accept();

enum class DescriptorRole : std::uint8_t {
  child,  // a manifest an index lists
  config,
  layer,  // of a schema 1 manifest: size 0, it says none
};

// `urls` of descriptors are not even read: they are never dialled.
struct Descriptor {
  Digest digest;
  ByteCount size = 0;
  std::string media_type;
  DescriptorRole role = DescriptorRole::layer;
};

struct ManifestInfo {
  std::string media_type;  // to be stored and served: from Content-Type, else `mediaType`, else the shape
  bool is_index = false;
  // In order; objects whose digest is of an algorithm nobody here can verify are left out.
  std::vector<Descriptor> descriptors;
};

// content_type: of the upstream's answer, may be empty. Errors: upstream_protocol with diagnosis
// not_a_registry (HTML), manifest_too_large, manifest_invalid, manifest_type_mismatch (Content-Type
// and JSON disagree).
Result<ManifestInfo> parse_manifest(std::string_view bytes, std::string_view content_type);

// "type/subtype" in lower case without parameters; empty if it is none.
std::string media_type_of(std::string_view content_type);
// Is this the answer of something that is no registry: a login page, a captive portal?
bool looks_like_html(std::string_view content_type, std::string_view first_bytes);

}  // namespace layerd::registry
