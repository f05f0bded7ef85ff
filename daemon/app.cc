#include "daemon/app.h"

#include <fmt/core.h>
#include <unistd.h>

#include <random>

#include "daemon/settings_table.h"
#include "daemon/version.h"
#include "daemon/way_out.h"
#include "proxy/net/address.h"

namespace layerd::daemon {
namespace {

constexpr ByteCount kBufferBudget = 16_MiB;

// Who we are in Via headers: random, so that two daemons behind one another are told apart.
std::string random_instance() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

cache::SpaceLimit limit_of(const SizeSetting& setting) {
  return setting.percent > 0 ? cache::SpaceLimit{0, setting.percent} : cache::SpaceLimit{setting.bytes, -1};
}

net::Address address_of(const ListenAddress& address) {
  return {address.host, address.port, address.host.find(':') != std::string::npos};
}

net::ResolverSettings resolver_settings(const DnsSettings& dns) {
  net::ResolverSettings settings;
  for (const auto& [name, addresses] : dns.hosts) {
    auto& known = settings.hosts[name];
    for (const auto& text : addresses)
      if (auto address = net::parse_address(text, 0)) known.push_back(std::move(*address));
  }
  for (const auto& [suffix, servers] : dns.zones) settings.zones.push_back({suffix, servers});
  settings.search = dns.search;
  return settings;
}

Error listen_error(const std::string& key, const Error& error) {
  Error told = error;
  told.message = key + ": " + error.message;
  return told;
}

// The keys whose new value a running daemon cannot take.
std::vector<std::string> changed_but_not_reloadable(const Settings& before, const Settings& after) {
  std::vector<std::string> keys;
  for (const auto& key : settings_keys())
    if (!key.reloadable && key.show(before) != key.show(after)) keys.push_back(key.path);
  return keys;
}

}  // namespace

App::App(UvLoop& loop, SettingsPtr settings, ConfigState state)
    : loop_(loop),
      settings_(std::move(settings)),
      config_state_(std::move(state)),
      instance_(random_instance()),
      started_(loop.now()) {}

Result<std::unique_ptr<App>> App::start(UvLoop& loop, SettingsPtr settings, ConfigState state,
                                        std::vector<systemd::InheritedSocket> sockets) {
  std::unique_ptr<App> app(new App(loop, std::move(settings), std::move(state)));
  app->workers_ = std::make_unique<Workers>(loop, app->settings_->workers);
  app->buffers_ = std::make_unique<BufferBudget>(loop, kBufferBudget);
  if (auto opened = app->open_store(); !opened) return std::move(opened).error();
  app->load_key();
  app->build_upstream();
  app->build_downloads();
  app->build_peers();
  app->build_mirror();
  app->build_check();
  app->credential_files_ = std::make_unique<CredentialFiles>(loop, *app->fetcher_);
  app->credential_files_->watch(app->settings_->credentials.docker_configs);
  app->register_gauges();
  if (auto listening = app->listen(std::move(sockets)); !listening) return std::move(listening).error();
  return app;
}

// Listeners first, then who serves, then what they stand on. Workers end before what their answers
// would touch on the loop is gone.
App::~App() {
  sharing_out_.reset();
  draining_exchanges_.reset();
  closing_store_.reset();
  admin_tcp_listener_.reset();
  admin_listener_.reset();
  listener_.reset();
  admin_root_server_.reset();
  admin_guest_server_.reset();
  admin_tcp_server_.reset();
  server_.reset();
  if (peers_) peers_->stop_serving();
  mirror_.reset();
  downloads_.reset();
  peers_.reset();
  remembering_.reset();
  learning_.reset();
  credential_files_.reset();
  fetcher_.reset();
  children_.reset();
  client_.reset();
  dialer_.reset();
  tls_.reset();
  resolver_.reset();
  admin_.reset();
  store_.reset();
  workers_.reset();
}

Result<Ok> App::open_store() {
  cache::StoreSettings settings;
  settings.path = settings_->cache_path;
  settings.max_size = limit_of(settings_->cache_max_size);
  settings.min_free = limit_of(settings_->cache_min_free);
  auto store = cache::DiskStore::open(loop_, *workers_, metrics_, std::move(settings));
  if (!store) {
    Error error = std::move(store).error();
    error.message = fmt::format("cache.path {}: {}", settings_->cache_path, error.message);
    return error;
  }
  store_ = std::move(*store);
  return Ok{};
}

// Without a key on disk everything works until the next start, when clients have to ask for new handles.
void App::load_key() {
  auto key = SealingKey::load_or_make(settings_->cache_path + "/access.key");
  if (!key) LogLine(LogLevel::warn, "access_key").field("err", key.error().message);
  key_ = std::make_unique<SealingKey>(key ? std::move(*key) : SealingKey::temporary());
  cgroups_ = std::make_unique<net::KernelCgroups>(loop_, *workers_, metrics_);
  if (!owners_.works())
    LogLine(LogLevel::warn, "sock_diag")
        .field("err", "the kernel does not tell who connects; only what is open to everybody is answered");
}

void App::build_upstream() {
  resolver_ = std::make_unique<net::Resolver>(loop_, resolver_settings(settings_->dns));
  tls_ = std::make_unique<net::TlsContexts>(loop_, *workers_);
  dialer_ = std::make_unique<net::NetDialer>(loop_, *workers_, *resolver_, *tls_);
  http::ClientLimits limits;
  limits.connections_per_host = settings_->connections_per_registry;
  client_ = std::make_unique<http::PooledClient>(loop_, *dialer_, metrics_, limits);
  client_->set_proxies(proxy_rules(*settings_));
  children_ = std::make_unique<UvChildren>(loop_);
  fetcher_ = std::make_unique<upstream::RegistryFetcher>(
      loop_, *workers_, *children_, *client_, [this] { return settings_->compiled_rules; }, metrics_,
      fetcher_settings());
  fetcher_->set_credentials(credential_rules());
  share_out_downloads();
}

void App::build_mirror() {
  const proxy::MirrorParts parts{loop_,       *workers_,     metrics_,  *store_, store_->catalog(),
                                 *downloads_, *remembering_, *buffers_, owners_, *cgroups_,
                                 *key_};
  mirror_ = std::make_unique<proxy::Mirror>(parts, mirror_settings(), pages());
  http::ServerLimits limits;
  limits.connections = settings_->client_connections;
  server_ = std::make_unique<http::Server>(loop_, *mirror_, metrics_, limits);
  admin_ = std::make_unique<AdminApi>(loop_, *store_, store_->catalog());
  admin_->set_status([this] { return status(); });
  admin_->set_peers([this] { return peers_ ? peers_->json() : Json{{"is_on", false}}; });
  admin_->set_check(
      [this](const std::string& name, const std::string& platform, Callback<void(AdminReply)> done) {
        return check(name, platform, std::move(done));
      });
  admin_root_ = std::make_unique<AdminService>(*admin_, true);
  admin_guest_ = std::make_unique<AdminService>(*admin_, false);
  admin_root_server_ = std::make_unique<http::Server>(loop_, *admin_root_, metrics_);
  admin_guest_server_ = std::make_unique<http::Server>(loop_, *admin_guest_, metrics_);
}

proxy::SitePages App::pages() {
  proxy::SitePages pages;
  pages.not_ready = [this] { return draining_ ? std::string("draining") : std::string(); };
  pages.metrics = [this] { return metrics_.text(); };
  pages.figures = [this] { return figures(); };
  return pages;
}

proxy::MirrorSettingsPtr App::mirror_settings() const {
  auto settings = std::make_shared<proxy::MirrorSettings>();
  settings->rules = settings_->compiled_rules;
  settings->fresh_for = settings_->tags_fresh_for;
  settings->check_within = settings_->tags_check_within;
  settings->immutable = settings_->tags_immutable_patterns;
  settings->access = settings_->access;
  // Where there are members, offline is an upstream that never answers: what it cannot be asked about they
  // are.
  settings->offline = settings_->offline && !peers_;
  settings->instance = upstream::via_name(instance_);
  return settings;
}

upstream::FetcherSettings App::fetcher_settings() const {
  upstream::FetcherSettings settings;
  settings.version = kVersion;
  settings.instance = instance_;
  settings.offline = settings_->offline;
  settings.connect = settings_->connect_timeout;
  settings.first_byte = settings_->answer_timeout;
  settings.certs_dirs = settings_->certs_dirs;
  settings.stall = settings_->stall_timeout;
  return settings;
}

registry::CredentialRulesPtr App::credential_rules() const {
  auto rules = std::make_shared<registry::CredentialRules>(settings_->credentials);
  for (const auto& [host, settings] : settings_->rules.configs)
    if (!settings->credentials.empty()) rules->config_hosts.push_back(host);
  return rules;
}

Result<Ok> App::listen(std::vector<systemd::InheritedSocket> sockets) {
  if (auto mirror = listen_mirror(sockets); !mirror) return mirror;
  if (auto admin = listen_admin(sockets); !admin) return admin;
  serve_unnamed(sockets);
  // What we listen on ourselves is never dialled for anybody.
  std::vector<net::Address> own = listener_->addresses();
  if (admin_tcp_listener_)
    own.insert(own.end(), admin_tcp_listener_->addresses().begin(), admin_tcp_listener_->addresses().end());
  const auto theirs = peers_ ? peers_->addresses() : std::vector<net::Address>{};
  own.insert(own.end(), theirs.begin(), theirs.end());
  dialer_->set_listeners(std::move(own));
  return Ok{};
}

// systemd goes on listening where we do not: who connects there would wait for nobody.
void App::serve_unnamed(const std::vector<systemd::InheritedSocket>& sockets) {
  for (const auto& socket : sockets) {
    const bool is_tcp = !socket.address.empty() && socket.address.front() != '/';
    const bool is_served = is_tcp && listener_->adopt(socket.fd).ok();
    if (!is_tcp) ::close(socket.fd);
    LogLine(LogLevel::warn, "socket_unnamed")
        .field("address", socket.address)
        .field("err", fmt::format("the socket unit opens an address that `listen` does not name; {}. Change "
                                  "ListenStream by: systemctl edit layerd.socket",
                                  is_served ? "it is served as well" : "nobody answers there"));
  }
}

Result<Ok> App::listen_mirror(std::vector<systemd::InheritedSocket>& sockets) {
  net::ListenerSettings limits;
  limits.most = settings_->client_connections + http::Server::kTurnedAway;
  listener_ = std::make_unique<net::Listener>(loop_, *workers_, limits, [this](net::Accepted accepted) {
    server_->adopt(std::move(accepted.stream));
  });
  for (const auto& address : settings_->listen) {
    const int fd = systemd::take_socket(sockets, address.str());
    auto bound = fd >= 0 ? listener_->adopt(fd) : listener_->listen(address_of(address));
    if (bound) continue;
    Error error = listen_error("listen", bound.error());
    const std::string port = fmt::format(":{}", address.port);
    for (const auto& socket : sockets)
      if (socket.address.ends_with(port))
        error.message +=
            fmt::format("; the socket unit holds {}: systemctl edit layerd.socket", socket.address);
    return error;
  }
  return Ok{};
}

Result<Ok> App::listen_admin(std::vector<systemd::InheritedSocket>& sockets) {
  admin_listener_ = std::make_unique<net::Listener>(
      loop_, *workers_, net::ListenerSettings{64, 64}, [this](net::Accepted accepted) {
        const bool may_change = accepted.credentials &&
                                (accepted.credentials->uid == 0 || accepted.credentials->uid == ::geteuid());
        (may_change ? admin_root_server_ : admin_guest_server_)->adopt(std::move(accepted.stream));
      });
  const std::string& path = settings_->admin_socket;
  if (!path.empty()) {
    const int fd = systemd::take_socket(sockets, path);
    Result<Ok> bound = Ok{};
    if (fd >= 0) {
      if (auto adopted = admin_listener_->adopt(fd); !adopted) bound = adopted.error();
    } else {
      bound = admin_listener_->listen_unix(path, 0660);
    }
    // Pulls do not depend on it: without the socket only `status` and `cache` are missing.
    if (!bound)
      LogLine(LogLevel::warn, "admin_socket").field("path", path).field("err", bound.error().message);
  }
  if (!settings_->admin_listen) return Ok{};
  site_ = std::make_unique<proxy::SiteService>(*mirror_);
  admin_tcp_server_ = std::make_unique<http::Server>(loop_, *site_, metrics_);
  admin_tcp_listener_ = std::make_unique<net::Listener>(
      loop_, *workers_, net::ListenerSettings{64, 64},
      [this](net::Accepted accepted) { admin_tcp_server_->adopt(std::move(accepted.stream)); });
  const int fd = systemd::take_socket(sockets, settings_->admin_listen->str());
  auto bound = fd >= 0 ? admin_tcp_listener_->adopt(fd)
                       : admin_tcp_listener_->listen(address_of(*settings_->admin_listen));
  if (!bound) return listen_error("admin.listen", bound.error());
  return Ok{};
}

std::vector<std::string> App::apply(SettingsPtr settings, ConfigState state) {
  if (draining_) return {};  // parts of us are gone already
  const auto restart_needed = changed_but_not_reloadable(*settings_, *settings);
  const bool names_moved = !(settings_->dns == settings->dns);
  settings_ = std::move(settings);
  config_state_ = std::move(state);
  if (names_moved) {
    resolver_->set(resolver_settings(settings_->dns));
    client_->retire_connections();
  }
  fetcher_->set_settings(fetcher_settings());
  fetcher_->give_another_chance();
  fetcher_->set_credentials(credential_rules());
  credential_files_->watch(settings_->credentials.docker_configs);
  share_out_downloads();
  client_->set_connections_per_host(settings_->connections_per_registry);
  client_->set_proxies(proxy_rules(*settings_));
  downloads_->set_stall(settings_->stall_timeout);
  store_->set_limits(limit_of(settings_->cache_max_size), limit_of(settings_->cache_min_free));
  if (peers_) {
    peers_->apply(settings_);
    use_peers();
  }
  mirror_->set_settings(mirror_settings());
  log::set(settings_->log_level, settings_->log_format);
  config_loads("taken").add();
  return restart_needed;
}

void App::refuse(std::vector<std::string> errors) {
  config_state_.errors = std::move(errors);
  config_loads("refused").add();
}

void App::drain(Callback<void()> done) {
  if (draining_) return;
  draining_ = true;
  listener_->stop();
  if (admin_tcp_listener_) admin_tcp_listener_->stop();
  downloads_->drain();
  draining_exchanges_ = server_->drain(settings_->drain, [this, done = std::move(done)]() mutable {
    // Downloads hold partial blobs; they are let go before the store writes its last word. Nobody may
    // ask for the status of what is gone.
    admin_listener_->stop();
    admin_root_server_.reset();
    admin_guest_server_.reset();
    admin_tcp_server_.reset();
    if (peers_) peers_->stop_serving();
    mirror_.reset();
    downloads_.reset();
    closing_store_ = store_->close([this, done = std::move(done)](Result<Ok> closed) mutable {
      if (!closed) LogLine(LogLevel::error, "store_close").field("err", closed.error().message);
      drained_ = true;
      done();
    });
  });
}

std::string App::listening() const {
  std::string text;
  for (const auto& address : listener_->addresses()) text += (text.empty() ? "" : ", ") + address.str();
  return text;
}

}  // namespace layerd::daemon
