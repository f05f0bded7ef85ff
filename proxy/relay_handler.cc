#include "proxy/relay_handler.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/answers.h"
#include "proxy/registry/text.h"
#include "proxy/whole_body.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr Duration kListWithin = std::chrono::minutes(1);
constexpr std::size_t kMostQuery = 2048;

std::string_view path_of(std::string_view target) {
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && !target.starts_with('/'))
    target = target.substr(std::min(target.size(), target.find('/', scheme + 3)));
  return target.substr(0, target.find('?'));
}

class RelayHandler final : public http::Handler {
 public:
  RelayHandler(MirrorServices& services, MirrorSettingsPtr settings, http::Exchange& exchange, AskedPtr asked)
      : services_(services), settings_(std::move(settings)), exchange_(exchange), asked_(std::move(asked)) {}

  void start() {
    upstream::FetchRequest request;
    request.target = asked_->target;
    const bool tags = asked_->route.kind == registry::RouteKind::tags;
    request.kind = tags ? upstream::Kind::tags : upstream::Kind::referrers;
    request.reference = asked_->route.reference;
    request.query = asked_->route.query;
    request.deadline = Deadline::in(services_.parts.loop.now(), kSourceWithin);
    pending_ =
        services_.parts.fetcher.fetch(std::move(request), [this](Result<upstream::FetchResponse> answer) {
          answer ? read(std::move(*answer)) : fail(answer.error());
        });
  }

 private:
  void read(upstream::FetchResponse answer) {
    upstream_headers_ = std::move(answer.headers);
    const auto deadline = Deadline::in(services_.parts.loop.now(), kListWithin);
    pending_ = read_whole(services_.parts.loop, services_.small_bodies, std::move(answer.body), deadline,
                          [this](Result<SmallBody> body) { body ? respond(*body) : fail(body.error()); });
  }

  void respond(const SmallBody& body) {
    http::ResponseHead head;
    const auto type = upstream_headers_.get("Content-Type").value_or("application/json");
    head.headers.add("Content-Type", printable(type, 128));
    head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
    head.headers.add("Cache-Control", "no-cache");
    head.headers.add("Layerd-Source", "upstream");
    if (asked_->route.ns_given) head.headers.add("OCI-Namespace", asked_->route.ns);
    const std::string_view ns =
        asked_->route.ns_given ? std::string_view(asked_->route.ns) : std::string_view();
    if (const auto link = upstream_headers_.get("Link")) {
      if (auto own = own_link(*link, path_of(exchange_.request().target), ns); !own.empty())
        head.headers.add("Link", std::move(own));
    }
    for (const char* name : {"OCI-Filters-Applied", "Warning"}) {
      if (const auto value = upstream_headers_.get(name)) head.headers.add(name, printable(*value, 200));
    }
    note_served(exchange_, Served::upstream);
    exchange_.respond(std::move(head), body.bytes);
  }

  void fail(const Error& error) { services_.access.fail(*settings_, exchange_, *asked_, error); }

  MirrorServices& services_;
  MirrorSettingsPtr settings_;
  http::Exchange& exchange_;
  AskedPtr asked_;
  http::Headers upstream_headers_;
  Ticket pending_;
};

}  // namespace

std::string own_link(std::string_view link, std::string_view client_path, std::string_view ns) {
  const auto open = link.find('<');
  const auto close = link.find('>', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  const std::string_view target = link.substr(open + 1, close - open - 1);
  const auto mark = target.find('?');
  if (mark == std::string_view::npos || link.substr(close).find("next") == std::string_view::npos) return {};
  const std::string_view query = target.substr(mark + 1, target.find('#') - mark - 1);
  const bool clean =
      std::all_of(query.begin(), query.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
  if (!clean || query.empty() || query.size() > kMostQuery) return {};
  std::string kept;
  for (std::string_view field : registry::split(query, '&')) {
    if (field.empty() || field.starts_with("ns=")) continue;
    kept += (kept.empty() ? "" : "&") + std::string(field);
  }
  if (!ns.empty()) kept += (kept.empty() ? "ns=" : "&ns=") + registry::percent_encode(ns);
  return fmt::format("<{}?{}>; rel=\"next\"", client_path, kept);
}

std::unique_ptr<http::Handler> serve_relay(MirrorServices& services, MirrorSettingsPtr settings,
                                           http::Exchange& exchange, AskedPtr asked) {
  note_object(exchange, "relay", *asked);
  if (settings->offline) {
    respond_error(exchange, asked.get(), offline_error("this list of " + asked->key));
    return nullptr;
  }
  auto handler = std::make_unique<RelayHandler>(services, std::move(settings), exchange, std::move(asked));
  handler->start();
  return handler;
}

}  // namespace layerd::proxy
