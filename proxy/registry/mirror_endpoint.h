// Endpoints as people write them in `mirrors`, normalised as k3s does (protocol.md §2.2), and the
// address a registry has by its own name. Pure, any thread.
#pragma once

#include <string_view>

#include "proxy/registry/endpoint.h"
#include "proxy/registry/reference.h"
#include "runtime/result.h"

namespace layerd::registry {

// "https://host:5000", "host", "http://127.0.0.1:5050/v2/docker.io". No scheme: https, but http for
// a loopback host with a port other than 443. Path "", "/" and "/v2" become "/v2"; any other path is
// taken as it is (override_path). docker.io becomes registry-1.docker.io. Errors: invalid_request.
Result<Url> parse_endpoint(std::string_view text);

// Where a registry lives when nothing else is said: "https://ghcr.io/v2".
Url default_endpoint_of(const RegistryName& registry);

}  // namespace layerd::registry
