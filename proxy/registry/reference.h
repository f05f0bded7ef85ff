// The grammar of image references (protocol.md §5.1) and the normalisation of short names as docker
// and containerd do it (§5.2). Pure, any thread; every function is linear in its bounded input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/digest.h"
#include "runtime/result.h"

namespace layerd::registry {

inline constexpr std::size_t kMostNameBytes = 255;
inline constexpr std::string_view kDockerHub = "docker.io";

// A registry name: host[:port]. `text` is lower case, "docker.io" for its aliases, and keeps the
// port as written ("reg:443" stays).
struct RegistryName {
  std::string text;
  std::string host;  // no brackets
  std::optional<std::uint16_t> port;
};

// Errors (all of this file): invalid_request; diagnosis is the OCI code NAME_INVALID or DIGEST_INVALID.
Result<RegistryName> parse_registry_name(std::string_view text);
// Docker Hub, by any of the names it has.
bool is_docker_hub(std::string_view registry);
Result<Ok> check_repository(std::string_view text);
Result<Ok> check_tag(std::string_view text);
// sha256 and sha512 only: of another algorithm nothing can be verified.
Result<Digest> parse_digest(std::string_view text);

// Has `component` the form of a host in front of a path: '.', ':' in it, or "localhost"?
bool has_form_of_host(std::string_view component);

// An image as people write it: "nginx", "ghcr.io/org/app:1", "reg:5000/a@sha256:…".
struct ImageName {
  std::string registry;    // "docker.io"
  std::string repository;  // "library/nginx"
  std::string tag;         // empty if not given
  std::optional<Digest> digest;
  // "docker.io/library/nginx:1.27"
  std::string str() const;
  // What is asked for: the digest if there is one (the tag is dropped, as containerd does), else the
  // tag, else "latest".
  std::string reference() const;
};
Result<ImageName> parse_image_name(std::string_view text);

}  // namespace layerd::registry
