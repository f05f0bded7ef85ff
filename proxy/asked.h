// One request for an object of a registry, understood: the route and where it leads. Kept for the
// next request with the same target, so that a hot one costs one look-up. Loop thread.
#pragma once

#include <memory>
#include <optional>

#include "cache/catalog.h"
#include "proxy/registry/endpoint.h"
#include "proxy/registry/route.h"
#include "runtime/digest.h"

namespace layerd::proxy {

struct Asked {
  registry::Route route;
  registry::TargetPtr target;    // as whom this request asks; null for what is no object of a registry
  registry::TargetPtr base;      // as the rules say, asked as the node
  cache::RepositoryKey key;      // of the target: "docker.io/library/nginx"
  std::optional<Digest> digest;  // where the reference is one
  std::string ref() const;       // "docker.io/library/nginx:1.27", "…@sha256:…" left to the digest field
};
using AskedPtr = std::shared_ptr<const Asked>;

inline std::string Asked::ref() const {
  return digest || route.reference.empty() ? key : key + ":" + route.reference;
}

}  // namespace layerd::proxy
