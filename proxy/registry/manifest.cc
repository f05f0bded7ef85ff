#include "proxy/registry/manifest.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

Error bad(std::string diagnosis, std::string message) {
  return {Errc::upstream_protocol, std::move(message), 0, 0, std::move(diagnosis), {}};
}

enum class Shape : std::uint8_t { unknown, index, manifest, schema1 };

bool has_array(const Json& json, const char* key) {
  const Json* value = json_find(json, key);
  return value && value->is_array();
}
bool has_object(const Json& json, const char* key) {
  const Json* value = json_find(json, key);
  return value && value->is_object();
}

// Nothing if the document is of two shapes at once, which two readers could understand differently.
Result<Shape> shape_of(const Json& json) {
  const bool index = has_array(json, "manifests");
  const bool manifest = has_object(json, "config") || has_array(json, "layers") || has_array(json, "blobs");
  const bool schema1 = has_array(json, "fsLayers");
  if (int{index} + int{manifest} + int{schema1} > 1)
    return bad("manifest_type_mismatch",
               "the manifest lists both manifests and layers: it can be read in two ways");
  if (index) return Shape::index;
  if (manifest) return Shape::manifest;
  return schema1 ? Shape::schema1 : Shape::unknown;
}

Shape shape_of_type(std::string_view type) {
  if (type == kOciIndex || type == kDockerList) return Shape::index;
  if (type == kOciManifest || type == kDockerManifest) return Shape::manifest;
  if (type == kDockerSchema1 || type == kDockerSchema1Signed) return Shape::schema1;
  return Shape::unknown;
}

// Types that say nothing about what kind of manifest it is.
bool is_generic(std::string_view type) {
  return type.empty() || type == "application/octet-stream" || type == "application/json" ||
         type == "text/plain" || type == "binary/octet-stream" || type == "application/x-www-form-urlencoded";
}

std::string_view type_of_shape(Shape shape, bool is_signed) {
  switch (shape) {
    case Shape::index:
      return kOciIndex;
    case Shape::manifest:
      return kOciManifest;
    case Shape::schema1:
      return is_signed ? kDockerSchema1Signed : kDockerSchema1;
    case Shape::unknown:
      break;
  }
  return {};
}

Result<std::string> decide_type(const Json& json, Shape shape, const std::string& content_type) {
  const std::string said = media_type_of(json_string(json, "mediaType"));
  const std::string type = is_generic(content_type) ? said : content_type;
  if (type.empty()) {
    const auto derived = type_of_shape(shape, json.contains("signatures"));
    if (derived.empty())
      return bad("manifest_invalid", "the manifest has neither manifests nor layers nor a media type");
    return std::string(derived);
  }
  const Shape expected = shape_of_type(type);
  const bool same_type = said.empty() || said == type;
  const bool same_shape = expected == Shape::unknown || expected == shape;
  if (same_type && same_shape) return type;
  return bad("manifest_type_mismatch",
             fmt::format("the registry calls the manifest {}, its content is {}", printable(type, 80),
                         !same_type ? printable(said, 80) : "of another kind"));
}

class DescriptorList {
 public:
  explicit DescriptorList(std::vector<Descriptor>& out) : out_(out) {}

  Result<Ok> add(const Json& item, DescriptorRole role) {
    if (++seen_ > kMostDescriptors)
      return bad("manifest_invalid",
                 fmt::format("the manifest lists more than {} objects", kMostDescriptors));
    const Json* size = json_find(item, "size");
    if (!size || !size->is_number_integer() || json_int(item, "size", -1) < 0)
      return bad("manifest_invalid", "the manifest lists an object without a valid size");
    return add_digest(json_string(item, "digest"), static_cast<ByteCount>(json_int(item, "size")),
                      media_type_of(json_string(item, "mediaType")), role);
  }

  Result<Ok> add_schema1(const Json& item) {
    if (++seen_ > kMostDescriptors)
      return bad("manifest_invalid",
                 fmt::format("the manifest lists more than {} objects", kMostDescriptors));
    return add_digest(json_string(item, "blobSum"), 0, {}, DescriptorRole::layer);
  }

 private:
  Result<Ok> add_digest(const std::string& text, ByteCount size, std::string media_type,
                        DescriptorRole role) {
    auto digest = Digest::parse(text);
    if (digest) {
      out_.push_back({*digest, size, std::move(media_type), role});
      return Ok{};
    }
    // Of an algorithm nobody here can verify: it will be refused when it is asked for by name.
    const auto algorithm = text.substr(0, text.find(':'));
    if (algorithm.size() < text.size() && !algorithm.empty() && algorithm != "sha256" &&
        algorithm != "sha512")
      return Ok{};
    return bad("manifest_invalid", "the manifest lists the malformed digest \"" + printable(text, 80) + "\"");
  }

  std::vector<Descriptor>& out_;
  std::size_t seen_ = 0;
};

Result<Ok> add_array(const Json& json, const char* key, DescriptorRole role, DescriptorList& list) {
  const Json* items = json_find(json, key);
  if (!items || !items->is_array()) return Ok{};
  for (const Json& item : *items) {
    auto added = role == DescriptorRole::layer && std::string_view(key) == "fsLayers" ? list.add_schema1(item)
                                                                                      : list.add(item, role);
    if (!added) return added;
  }
  return Ok{};
}

Result<Ok> list_descriptors(const Json& json, std::vector<Descriptor>& out) {
  DescriptorList list(out);
  if (has_object(json, "config"))
    if (auto added = list.add(json["config"], DescriptorRole::config); !added) return added;
  static constexpr std::pair<const char*, DescriptorRole> kArrays[] = {{"manifests", DescriptorRole::child},
                                                                       {"layers", DescriptorRole::layer},
                                                                       {"blobs", DescriptorRole::layer},
                                                                       {"fsLayers", DescriptorRole::layer}};
  for (const auto& [key, role] : kArrays)
    if (auto added = add_array(json, key, role, list); !added) return added;
  return Ok{};
}

}  // namespace

std::string_view full_accept() {
  return "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
         "application/vnd.docker.distribution.manifest.list.v2+json, "
         "application/vnd.docker.distribution.manifest.v2+json, "
         "application/vnd.docker.distribution.manifest.v1+prettyjws, "
         "application/vnd.docker.distribution.manifest.v1+json, "
         "application/vnd.oci.artifact.manifest.v1+json, */*;q=0.1";
}

std::string media_type_of(std::string_view content_type) {
  const auto type = trim_all(content_type.substr(0, content_type.find(';')));
  const auto slash = type.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == type.size() || type.size() > 255)
    return {};
  const auto fits = [](char c) {
    return is_alnum(c) || (c != '\0' && std::string_view("/!#$&-^_.+").find(c) != std::string_view::npos);
  };
  return std::all_of(type.begin(), type.end(), fits) ? lower_case(type) : std::string();
}

bool looks_like_html(std::string_view content_type, std::string_view first_bytes) {
  const auto type = media_type_of(content_type);
  if (type == "text/html" || type == "application/xhtml+xml") return true;
  first_bytes = trim_all(first_bytes.substr(0, 512));
  if (first_bytes.starts_with("\xef\xbb\xbf")) first_bytes.remove_prefix(3);
  return starts_with_nocase(first_bytes, "<!doctype html") || starts_with_nocase(first_bytes, "<html");
}

Result<ManifestInfo> parse_manifest(std::string_view bytes, std::string_view content_type) {
  if (looks_like_html(content_type, bytes))
    return bad("not_a_registry",
               "the answer is a web page, not a manifest: this is not a registry, or a proxy or login page "
               "stands before it");
  if (bytes.size() > kMostManifestBytes)
    return bad("manifest_too_large",
               fmt::format("the manifest has {} bytes, {} are possible", bytes.size(), kMostManifestBytes));
  const auto json = parse_json(bytes, {kMostManifestBytes, 32});
  if (!json) return bad("manifest_invalid", "the manifest is not JSON: " + json.error().message);
  if (!json->is_object()) return bad("manifest_invalid", "the manifest is not a JSON object");
  const auto shape = shape_of(*json);
  if (!shape) return shape.error();
  auto type = decide_type(*json, *shape, media_type_of(content_type));
  if (!type) return std::move(type).error();
  ManifestInfo info;
  info.media_type = std::move(*type);
  info.is_index = *shape == Shape::index;
  if (auto listed = list_descriptors(*json, info.descriptors); !listed) return std::move(listed).error();
  return info;
}

}  // namespace layerd::registry
