#include "proxy/registry/route.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"

namespace layerd::registry {

namespace {

Error bad_name(std::string message) {
  return {Errc::invalid_request, std::move(message), 0, 0, "NAME_INVALID", {}};
}

// The target without scheme and authority of the absolute form; those go to route.authority.
Result<std::string_view> origin_form(std::string_view target, Route& route) {
  if (target.size() > kMostTargetBytes)
    return bad_name(
        fmt::format("the request target has {} bytes, {} are possible", target.size(), kMostTargetBytes));
  const auto is_wrong = [](char c) { return c <= 0x20 || c >= 0x7f || c == '#' || c == '\\'; };
  if (std::any_of(target.begin(), target.end(), is_wrong))
    return bad_name("the request target holds a byte that no URL has");
  if (!target.empty() && target.front() == '/') return target;
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!starts_with_nocase(target, scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto end = std::min(target.find_first_of("/?"), target.size());
    route.authority = std::string(target.substr(0, end));
    target.remove_prefix(end);
    if (route.authority.empty()) return bad_name("the request target names no host");
    if (target.empty() || target.front() == '?') return bad_name("the request target has no path");
    return target;
  }
  return bad_name("the request target is neither a path nor an http URL");
}

// Takes ns out of the query; what is left goes to route.query as it was.
Result<std::optional<RegistryName>> take_ns(std::string_view query, Route& route) {
  std::optional<RegistryName> ns;
  if (query.empty()) return ns;
  for (std::string_view field : split(query, '&')) {
    const auto equals = field.find('=');
    if (field.substr(0, equals) != "ns") {
      if (!field.empty()) route.query += (route.query.empty() ? "" : "&") + std::string(field);
      continue;
    }
    const auto raw = equals == std::string_view::npos ? std::string_view{} : field.substr(equals + 1);
    const auto decoded = percent_decode(raw);
    if (!decoded) return bad_name("the ns parameter is not percent-encoded correctly");
    if (decoded->empty()) continue;
    auto name = parse_registry_name(*decoded);
    if (!name) return std::move(name).error();
    if (ns && ns->text != name->text) return bad_name("the request names two registries by ns");
    ns = std::move(*name);
  }
  return ns;
}

// The decoded components after "/v2/". No empty ones, no dots-only ones.
Result<std::vector<std::string>> components_of(std::string_view path) {
  std::vector<std::string> components;
  for (std::string_view raw : split(path, '/')) {
    auto decoded = percent_decode(raw);
    if (!decoded) return bad_name("the path is not percent-encoded correctly");
    if (decoded->empty()) return bad_name("the path has an empty component");
    // An encoded slash must not become a separator after the path has been taken apart.
    if (decoded->find('/') != std::string::npos) return bad_name("the path has an encoded slash");
    if (*decoded == "." || *decoded == "..") return bad_name("the path has a component of dots only");
    components.push_back(std::move(*decoded));
  }
  return components;
}

std::string join(const std::vector<std::string>& components, std::size_t first, std::size_t end) {
  std::string text;
  for (std::size_t i = first; i < end; ++i) text += (i == first ? "" : "/") + components[i];
  return text;
}

// Registry and repository from components [0, end) and what ns= said.
Result<Ok> name_it(const std::vector<std::string>& components, std::size_t end,
                   std::optional<RegistryName> ns, Route& route) {
  route.ns_given = ns.has_value();
  std::size_t first = 0;
  if (end >= 2 && has_form_of_host(components[0])) {
    // With ns given the path is the repository, except where it repeats the very same registry: an
    // endpoint written as ".../v2/docker.io" (protocol.md §2.2) makes containerd send both.
    auto prefix = parse_registry_name(components[0]);
    if (!ns) {
      if (!prefix) return std::move(prefix).error();
      ns = std::move(*prefix);
      first = 1;
    } else if (prefix && prefix->text == ns->text) {
      first = 1;
    }
  }
  route.ns = ns ? ns->text : std::string(kDockerHub);
  route.repository = join(components, first, end);
  if (!route.ns_given && route.ns == kDockerHub && end - first == 1)
    route.repository = "library/" + route.repository;
  return check_repository(route.repository);
}

Result<Ok> set_reference(std::string reference, Route& route) {
  route.reference = std::move(reference);
  route.is_digest = route.kind != RouteKind::manifest || route.reference.find(':') != std::string::npos;
  if (!route.is_digest) return check_tag(route.reference);
  auto digest = parse_digest(route.reference);
  if (!digest) return std::move(digest).error();
  return Ok{};
}

RouteKind object_kind(std::string_view word) {
  if (word == "manifests") return RouteKind::manifest;
  if (word == "blobs") return RouteKind::blob;
  if (word == "referrers") return RouteKind::referrers;
  return RouteKind::unknown;
}

// The object a path under /v2/ names, found from the right: a repository may have components that
// are called "manifests" or "blobs".
Result<Route> registry_route(std::string_view rest, std::string_view query, Route route) {
  if (rest == "_catalog") {
    route.kind = RouteKind::catalog;
    return route;
  }
  if (rest.ends_with("/blobs/uploads/")) {
    route.kind = RouteKind::write;
    return route;
  }
  auto components = components_of(rest);
  if (!components) return std::move(components).error();
  const std::size_t count = components->size();
  if (count < 3) return route;
  std::size_t name_end = count - 2;
  const auto kind = object_kind((*components)[count - 2]);
  if (kind != RouteKind::unknown) {
    route.kind = kind;
  } else if ((*components)[count - 2] == "tags" && components->back() == "list") {
    route.kind = RouteKind::tags;
  } else {
    if (count >= 4 && (*components)[count - 2] == "uploads" && (*components)[count - 3] == "blobs")
      route.kind = RouteKind::write;
    return route;
  }
  auto ns = take_ns(query, route);
  if (!ns) return std::move(ns).error();
  if (auto named = name_it(*components, name_end, std::move(*ns), route); !named)
    return std::move(named).error();
  if (route.kind == RouteKind::tags) return route;
  if (auto good = set_reference(std::move(components->back()), route); !good) return std::move(good).error();
  return route;
}

}  // namespace

std::string_view name_of(RouteKind kind) {
  switch (kind) {
    case RouteKind::ping:
      return "ping";
    case RouteKind::manifest:
      return "manifest";
    case RouteKind::blob:
      return "blob";
    case RouteKind::referrers:
      return "referrers";
    case RouteKind::tags:
      return "tags";
    case RouteKind::catalog:
      return "catalog";
    case RouteKind::write:
      return "write";
    case RouteKind::healthz:
      return "healthz";
    case RouteKind::readyz:
      return "readyz";
    case RouteKind::metrics:
      return "metrics";
    case RouteKind::status_page:
      return "status_page";
    case RouteKind::token:
      return "token";
    case RouteKind::unknown:
      break;
  }
  return "unknown";
}

Result<Route> parse_route(std::string_view method, std::string_view target) {
  Route route;
  if (method != "GET" && method != "HEAD") {
    const bool is_token = method == "POST" && target.substr(0, target.find('?')) == "/token";
    route.kind = is_token ? RouteKind::token : RouteKind::write;
    return route;
  }
  auto origin = origin_form(target, route);
  if (!origin) return std::move(origin).error();
  const auto mark = origin->find('?');
  const auto path = origin->substr(0, mark);
  const auto query = mark == std::string_view::npos ? std::string_view{} : origin->substr(mark + 1);
  static constexpr std::pair<std::string_view, RouteKind> kFixed[] = {
      {"/v2", RouteKind::ping},         {"/v2/", RouteKind::ping},      {"/", RouteKind::status_page},
      {"/healthz", RouteKind::healthz}, {"/readyz", RouteKind::readyz}, {"/metrics", RouteKind::metrics},
      {"/token", RouteKind::token}};
  for (const auto& [name, kind] : kFixed) {
    if (path != name) continue;
    route.kind = kind;
    route.query = std::string(query);
    return route;
  }
  if (!path.starts_with("/v2/")) return route;
  return registry_route(path.substr(4), query, std::move(route));
}

}  // namespace layerd::registry
