#include "proxy/router.h"

#include "proxy/answers.h"
#include "proxy/blob_handler.h"
#include "proxy/host_rule.h"
#include "proxy/manifest_handler.h"
#include "proxy/older_names.h"
#include "proxy/registry/registry_error.h"
#include "proxy/relay_handler.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostUnderstood = 512;
constexpr std::size_t kLongestUnderstood = 512;

using registry::RouteKind;

void respond_status(http::Exchange& exchange, int status, std::string_view code,
                    const std::string& sentence) {
  http::ResponseHead head;
  head.status = status;
  head.reason = sentence;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  if (status == 405) head.headers.add("Allow", "GET, HEAD");
  exchange.note(notes::kError, sentence);
  exchange.respond(std::move(head), registry::error_body(code, sentence));
}

void respond_page(http::Exchange& exchange, int status, const char* type, std::string_view body) {
  http::ResponseHead head;
  head.status = status;
  head.headers.add("Content-Type", type);
  head.headers.add("Cache-Control", "no-store");
  head.headers.add("X-Content-Type-Options", "nosniff");
  head.headers.add("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  exchange.respond(std::move(head), body);
}

void respond_ping(http::Exchange& exchange) {
  http::ResponseHead head;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  exchange.respond(std::move(head), "{}");
}

bool is_object(RouteKind kind) {
  return kind == RouteKind::manifest || kind == RouteKind::blob || kind == RouteKind::referrers ||
         kind == RouteKind::tags;
}

}  // namespace

Mirror::Mirror(const MirrorParts& parts, MirrorSettingsPtr settings, SitePages pages)
    : services_(parts),
      settings_(std::move(settings)),
      pages_(std::move(pages)),
      log_(parts.metrics),
      asked_registries_(parts.loop) {
  LAYERD_CHECK(settings_ && settings_->rules);
  services_.access.use(settings_->access);
}

Mirror::~Mirror() = default;

void Mirror::set_settings(MirrorSettingsPtr settings) {
  LAYERD_ON_LOOP(services_.parts.loop);
  LAYERD_CHECK(settings && settings->rules);
  settings_ = std::move(settings);
  understood_.clear();
  services_.access.use(settings_->access);
  services_.access.doubt_all();
}

std::unique_ptr<http::Handler> Mirror::serve(http::Exchange& exchange) {
  const AskedPtr asked = understand(exchange);
  if (!asked) return nullptr;
  if (refuses(exchange, asked->route.authority)) return nullptr;
  switch (asked->route.kind) {
    case RouteKind::manifest:
    case RouteKind::blob:
    case RouteKind::referrers:
    case RouteKind::tags:
      asked_registries_.note(asked->route.ns);
      return serve_object(exchange, asked);
    case RouteKind::write:
      respond_status(exchange, 405, "UNSUPPORTED",
                     "this mirror is for pulls: only GET and HEAD are possible");
      return nullptr;
    case RouteKind::catalog:
    case RouteKind::unknown:
      respond_status(exchange, 404, "NAME_UNKNOWN", "there is nothing here; a mirror answers under /v2/");
      return nullptr;
    case RouteKind::token:
      exchange.note(notes::kEvent, "site");
      services_.access.give_token(*settings_, exchange, asked->route);
      return nullptr;
    default:
      serve_page(exchange, asked->route);
      return nullptr;
  }
}

// Who may not ask at all.
bool Mirror::refuses(http::Exchange& exchange, std::string_view authority) {
  if (const auto refusal = check_host(exchange.request(), authority, exchange.local(), exchange.peer(),
                                      settings_->own_names)) {
    respond_status(exchange, refusal->status, "DENIED", refusal->sentence);
    return true;
  }
  if (!has_passed_us(exchange.request().headers, settings_->instance)) return false;
  respond_status(exchange, 508, "UNSUPPORTED",
                 "the request came back to this mirror: an endpoint leads to itself");
  return true;
}

// The route of the request and where it leads; null when it was answered with an error.
AskedPtr Mirror::understand(http::Exchange& exchange) {
  const http::RequestHead& request = exchange.request();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads) {
    if (const auto found = understood_.find(request.target); found != understood_.end()) return found->second;
  }
  auto asked = std::make_shared<Asked>();
  auto route = registry::parse_route(request.method, request.target);
  if (!route) {
    if (!refuses(exchange, {})) respond_error(exchange, nullptr, route.error());
    return nullptr;
  }
  asked->route = std::move(*route);
  if (!is_object(asked->route.kind)) return asked;
  auto target = settings_->rules->resolve(asked->route.ns, asked->route.repository);
  if (!target) {
    if (!refuses(exchange, asked->route.authority)) respond_error(exchange, asked.get(), target.error());
    return nullptr;
  }
  asked->base = asked->target = std::move(*target);
  asked->key = asked->target->key();
  if (asked->route.is_digest) {
    if (auto digest = Digest::parse(asked->route.reference)) asked->digest = *digest;
  }
  take_over_older_name(services_.parts.catalog, *asked->target, asked->route.reference, asked->digest);
  if (request.target.size() <= kLongestUnderstood) {
    if (understood_.size() >= kMostUnderstood) understood_.clear();
    understood_.emplace(request.target, asked);
  }
  return asked;
}

void Mirror::serve_site(http::Exchange& exchange) {
  const auto route = registry::parse_route(exchange.request().method, exchange.request().target);
  if (refuses(exchange, route ? std::string_view(route->authority) : std::string_view())) return;
  const bool is_page = route && (route->kind == RouteKind::healthz || route->kind == RouteKind::readyz ||
                                 route->kind == RouteKind::metrics || route->kind == RouteKind::status_page);
  if (is_page) return serve_page(exchange, *route);
  respond_status(exchange, 404, "NAME_UNKNOWN",
                 "this listener has the status page and metrics alone; images are on the mirror's");
}

std::unique_ptr<http::Handler> Mirror::serve_object(http::Exchange& exchange, AskedPtr asked) {
  if (auto allowed = services_.access.pass_at_once(*settings_, exchange, asked))
    return serve_allowed(settings_, exchange, std::move(allowed));
  return services_.access.pass(settings_, exchange, std::move(asked),
                               [this, settings = settings_, &exchange](AskedPtr allowed) {
                                 return serve_allowed(settings, exchange, std::move(allowed));
                               });
}

std::unique_ptr<http::Handler> Mirror::serve_allowed(const MirrorSettingsPtr& settings,
                                                     http::Exchange& exchange, AskedPtr asked) {
  switch (asked->route.kind) {
    case RouteKind::manifest:
      return serve_manifest(services_, settings, exchange, std::move(asked));
    case RouteKind::blob:
      return serve_blob(services_, settings, exchange, std::move(asked));
    default:
      return serve_relay(services_, settings, exchange, std::move(asked));
  }
}

// The page is for anybody on this machine: what is not open is not named there.
StatusFigures Mirror::open_figures() const {
  auto figures = pages_.figures();
  std::erase_if(figures.downloads,
                [this](const auto& download) { return !services_.access.is_open(download.repository); });
  return figures;
}

void Mirror::serve_page(http::Exchange& exchange, const registry::Route& route) {
  exchange.note(notes::kEvent, "site");
  switch (route.kind) {
    case RouteKind::ping:
      if (services_.access.challenge_ping(*settings_, exchange)) return;
      return respond_ping(exchange);
    case RouteKind::healthz:
      return respond_page(exchange, 200, "text/plain; charset=utf-8", "ok\n");
    case RouteKind::readyz: {
      const std::string reason = pages_.not_ready();
      return respond_page(exchange, reason.empty() ? 200 : 503, "text/plain; charset=utf-8",
                          reason.empty() ? "ready\n" : reason + "\n");
    }
    case RouteKind::metrics:
      return respond_page(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", pages_.metrics());
    default:
      return respond_page(exchange, 200, "text/html; charset=utf-8", status_page(open_figures()));
  }
}

}  // namespace layerd::proxy
