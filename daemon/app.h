// App: the composition root. Builds every part in order, wires references, reloads, drains, stops. It
// decides nothing about pulls. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/disk_store.h"
#include "daemon/admin_api.h"
#include "daemon/admin_service.h"
#include "daemon/config.h"
#include "daemon/credential_files.h"
#include "daemon/settings.h"
#include "daemon/site_part.h"
#include "proxy/check_parts.h"
#include "proxy/download_table.h"
#include "proxy/http/client_pool.h"
#include "proxy/http/server.h"
#include "proxy/net/cgroups.h"
#include "proxy/net/listener.h"
#include "proxy/net/net_dialer.h"
#include "proxy/net/resolver.h"
#include "proxy/net/socket_owner.h"
#include "proxy/repository_classes.h"
#include "proxy/router.h"
#include "proxy/upstream/registry_fetcher.h"
#include "runtime/budget.h"
#include "runtime/metrics.h"
#include "runtime/sealing.h"
#include "runtime/uv_children.h"
#include "runtime/uv_loop.h"
#include "runtime/workers.h"
#include "systemd/listen_fds.h"

namespace layerd::daemon {

// Where the running configuration came from.
struct ConfigState {
  std::string file;                 // as named; empty: none
  std::string source = "defaults";  // "file", "defaults", "last_good"
  std::vector<std::string> errors;  // of the last file that was refused; empty: all is well
};

class App {
 public:
  // Opens the store (blocks), binds or inherits every listener. Inherited sockets that fit no listener
  // are closed with a warning.
  // Errors: config (an address), overloaded (another process has the store), local_io.
  static Result<std::unique_ptr<App>> start(UvLoop& loop, SettingsPtr settings, ConfigState state,
                                            std::vector<systemd::InheritedSocket> sockets);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Only what asks upstreams: for `layerd check` when no daemon runs. Opens no store and listens nowhere.
  static std::unique_ptr<App> for_check(UvLoop& loop, SettingsPtr settings);
  // Walks a pull or a login (docs/check.md). Answers the JSON of GET /v1/check; 400: no such name can be;
  // 409: too many run at once.
  Ticket check(const std::string& name, const std::string& platform, Callback<void(AdminReply)> done);

  // New settings for the next requests; running pulls keep theirs. Answers the keys whose change
  // takes effect at the next start only. Does nothing once drain() was called.
  std::vector<std::string> apply(SettingsPtr settings, ConfigState state);
  // What POST /v1/reload of the admin socket does. Set once.
  void set_reload(AdminApi::Reload reload) { admin_->set_reload(std::move(reload)); }
  Workers& workers() { return *workers_; }
  // A file that was refused: the running configuration stays.
  void refuse(std::vector<std::string> errors);
  const ConfigState& config_state() const { return config_state_; }
  const Settings& settings() const { return *settings_; }

  // Stops listening, lets running answers go on for settings.drain, closes the store; then `done`.
  void drain(Callback<void()> done);

  std::string listening() const;  // "127.0.0.1:5151, [::1]:5151"
  Json status() const;            // docs/status.md

 private:
  App(UvLoop& loop, SettingsPtr settings, ConfigState state);
  Result<Ok> open_store();
  void load_key();
  void build_upstream();
  void build_downloads();
  void build_peers();
  void use_peers();
  void share_out_downloads();
  void build_mirror();
  void build_check();
  Json check_json(const proxy::CheckReport& report) const;
  Result<Ok> listen(std::vector<systemd::InheritedSocket> sockets);
  void serve_unnamed(const std::vector<systemd::InheritedSocket>& sockets);
  Result<Ok> listen_mirror(std::vector<systemd::InheritedSocket>& sockets);
  Result<Ok> listen_admin(std::vector<systemd::InheritedSocket>& sockets);
  proxy::MirrorSettingsPtr mirror_settings() const;
  upstream::FetcherSettings fetcher_settings() const;
  registry::CredentialRulesPtr credential_rules() const;
  proxy::SitePages pages();
  proxy::StatusFigures figures() const;
  std::string trouble() const;
  std::vector<std::string> file_troubles() const;
  void register_gauges();
  Counter& config_loads(const char* result);

  UvLoop& loop_;
  SettingsPtr settings_;
  ConfigState config_state_;
  const std::string instance_;
  const TimePoint started_;
  bool draining_ = false;
  bool drained_ = false;

  // In the order in which they stand on each other.
  Metrics metrics_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<BufferBudget> buffers_;
  std::unique_ptr<cache::DiskStore> store_;
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<net::TlsContexts> tls_;
  std::unique_ptr<net::NetDialer> dialer_;
  std::unique_ptr<http::PooledClient> client_;
  std::unique_ptr<UvChildren> children_;
  std::unique_ptr<upstream::RegistryFetcher> fetcher_;
  std::unique_ptr<CredentialFiles> credential_files_;  // null for `layerd check` without a daemon
  std::optional<proxy::CheckParts> check_parts_;
  std::vector<std::weak_ptr<int>> checks_;  // that run; some have ended
  std::unique_ptr<proxy::LearningFetcher> learning_;
  std::unique_ptr<proxy::SiteFetcher> remembering_;
  std::unique_ptr<SealingKey> key_;
  net::KernelSocketOwners owners_;
  std::unique_ptr<net::KernelCgroups> cgroups_;
  std::unique_ptr<SitePart> peers_;  // null: nothing is shared
  std::unique_ptr<proxy::DownloadTable> downloads_;
  std::unique_ptr<proxy::Mirror> mirror_;
  std::unique_ptr<proxy::SiteService> site_;
  std::unique_ptr<AdminApi> admin_;
  std::unique_ptr<AdminService> admin_root_, admin_guest_;
  std::unique_ptr<http::Server> server_, admin_root_server_, admin_guest_server_, admin_tcp_server_;
  std::unique_ptr<net::Listener> listener_, admin_listener_, admin_tcp_listener_;
  Ticket draining_exchanges_, closing_store_, sharing_out_;
};

}  // namespace layerd::daemon
