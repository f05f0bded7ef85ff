// The part of App behind `layerd check`: it hands the daemon's own resolver, dialer, credentials, tokens and
// store to a walk. Loop thread.
#include "daemon/app.h"
#include "daemon/way_out.h"
#include "proxy/check_walk.h"
#include "proxy/net/address.h"

namespace layerd::daemon {
namespace {

// Each asks upstreams like a pull; whoever may use the socket must not make a storm of them.
constexpr std::size_t kMostChecks = 4;

}  // namespace

std::unique_ptr<App> App::for_check(UvLoop& loop, SettingsPtr settings) {
  std::unique_ptr<App> app(new App(loop, std::move(settings), {}));
  app->workers_ = std::make_unique<Workers>(loop, app->settings_->workers);
  app->build_upstream();
  app->build_check();
  std::vector<net::Address> own;
  for (const auto& address : app->settings_->listen)
    own.push_back({address.host, address.port, address.host.find(':') != std::string::npos});
  app->dialer_->set_listeners(std::move(own));
  return app;
}

void App::build_check() {
  check_parts_.emplace(proxy::CheckParts{loop_, metrics_, *resolver_, *dialer_, fetcher_->parts(),
                                         store_.get(), store_ ? &store_->catalog() : nullptr});
}

Ticket App::check(const std::string& name, const std::string& platform, Callback<void(AdminReply)> done) {
  std::erase_if(checks_, [](const auto& slot) { return slot.expired(); });
  proxy::CheckQuestion question{name,
                                platform,
                                settings_->compiled_rules,
                                std::shared_ptr<const registry::RulesInput>(settings_, &settings_->rules),
                                proxy_rules(*settings_),
                                settings_->offline};
  const auto refuse = [&](int status, std::string_view code, std::string_view why) {
    return loop_.post([reply = admin_error(status, code, why), done = std::move(done)]() mutable {
      done(std::move(reply));
    });
  };
  if (auto good = proxy::check_question(question); !good)
    return refuse(400, "invalid_request", good.error().message);
  if (checks_.size() >= kMostChecks)
    return refuse(409, "overloaded", "too many checks run at once; try again");
  auto slot = std::make_shared<int>();
  checks_.push_back(slot);
  return proxy::check_name(*check_parts_, std::move(question),
                           [this, slot, done = std::move(done)](Result<proxy::CheckReport> report) mutable {
                             slot.reset();
                             done(AdminReply{200, check_json(*report)});
                           });
}

// What the walk found, and what only the daemon knows: whether anybody asked it for this registry.
Json App::check_json(const proxy::CheckReport& report) const {
  Json json = report.json();
  json["daemon"] = mirror_ != nullptr;
  if (!mirror_) return json;
  json["uptime_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(loop_.now() - started_).count();
  const auto since = mirror_->asked_registries().since(report.asked_registry);
  json["asked_seconds"] =
      since ? Json(std::chrono::duration_cast<std::chrono::seconds>(*since).count()) : Json();
  return json;
}

}  // namespace layerd::daemon
