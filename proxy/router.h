// Mirror: the service behind every listener for runtimes. Decides who may ask, understands the
// request, and hands it to the handler for its kind; logs and counts what has ended. Loop thread.
//
// Requests with a target seen lately cost one look-up; what is cached and hot is answered before
// serve() returns.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proxy/asked.h"
#include "proxy/asked_registries.h"
#include "proxy/exchange_log.h"
#include "proxy/http/exchange.h"
#include "proxy/mirror_services.h"
#include "proxy/status_page.h"

namespace layerd::proxy {

// What the daemon tells on the pages beside /v2/. Called per request; none may be empty.
struct SitePages {
  std::function<std::string()> not_ready;  // empty: ready; else the reason
  std::function<std::string()> metrics;    // Prometheus text
  std::function<StatusFigures()> figures;  // for the status page
};

class Mirror final : public http::Service {
 public:
  // The parts outlive the Mirror. settings: never null.
  Mirror(const MirrorParts& parts, MirrorSettingsPtr settings, SitePages pages);
  ~Mirror() override;

  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override;
  void ended(const Summary& summary) override { log_.ended(summary); }

  // Only the pages beside /v2/: for a listener that is open to others than this node's runtimes.
  void serve_site(http::Exchange& exchange);

  // A reload: the next request sees the new settings, running ones keep theirs.
  void set_settings(MirrorSettingsPtr settings);
  const ServedTally& tally() const { return log_.tally(); }
  const AskedRegistries& asked_registries() const { return asked_registries_; }

 private:
  bool refuses(http::Exchange& exchange, std::string_view authority);
  AskedPtr understand(http::Exchange& exchange);
  std::unique_ptr<http::Handler> serve_object(http::Exchange& exchange, AskedPtr asked);
  std::unique_ptr<http::Handler> serve_allowed(const MirrorSettingsPtr& settings, http::Exchange& exchange,
                                               AskedPtr asked);
  StatusFigures open_figures() const;
  void serve_page(http::Exchange& exchange, const registry::Route& route);

  MirrorServices services_;
  MirrorSettingsPtr settings_;
  SitePages pages_;
  ExchangeLog log_;
  AskedRegistries asked_registries_;
  std::unordered_map<std::string, AskedPtr> understood_;  // by target of GET and HEAD; bounded
};

// The service behind admin.listen: the Mirror's pages without its objects.
class SiteService final : public http::Service {
 public:
  // The Mirror outlives this.
  explicit SiteService(Mirror& mirror) : mirror_(mirror) {}
  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override {
    mirror_.serve_site(exchange);
    return nullptr;
  }
  void ended(const Summary& summary) override { mirror_.ended(summary); }

 private:
  Mirror& mirror_;
};

}  // namespace layerd::proxy
