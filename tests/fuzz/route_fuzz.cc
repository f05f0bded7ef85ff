// Requests of clients: method, a space, target. What is accepted obeys the grammar.
#include <cstdint>

#include "proxy/registry/reference.h"
#include "proxy/registry/route.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto space = text.find(' ');
  const auto method = space == std::string_view::npos ? "GET" : text.substr(0, space);
  const auto route = parse_route(method, space == std::string_view::npos ? text : text.substr(space + 1));
  if (!route || route->repository.empty()) return 0;
  LAYERD_CHECK(check_repository(route->repository).ok());
  LAYERD_CHECK(parse_registry_name(route->ns).ok());
  if (route->kind == RouteKind::tags) return 0;
  LAYERD_CHECK(route->is_digest ? parse_digest(route->reference).ok() : check_tag(route->reference).ok());
  return 0;
}
