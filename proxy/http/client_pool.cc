#include "proxy/http/client_pool.h"

#include "proxy/http/client_request.h"

namespace layerd::http {

namespace {

// Host pools without connections are looked for when there are more than this.
constexpr std::size_t kManyPools = 64;

// Connections with the same key may stand for each other.
std::string key_of(const net::DialRequest& where) {
  std::string key;
  const auto add = [&key](std::string_view part) { key.append(part).push_back('\0'); };
  std::string host = where.host;
  for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  add(host);
  add(std::to_string(where.port));
  add(std::to_string(static_cast<int>(where.policy)));  // what one may reach is no way for another
  add(where.proxy ? where.proxy->str() + net::proxy_authorization(*where.proxy) : "");
  add(where.tls ? "tls" : "plain");
  if (!where.tls) return key;
  const auto& tls = where.tls_settings;
  add(tls.ca_file);
  add(tls.cert_file);
  add(tls.key_file);
  add(tls.server_name);
  add(tls.ca_dir);
  add(tls.system_cas ? "system" : "own");
  add(std::to_string(tls.minor_version));
  add(tls.insecure_skip_verify ? "unverified" : "verified");
  add(tls.ca_pem);
  add(tls.cert_pem);
  add(tls.key_pem);
  return key;
}

}  // namespace

PooledClient::PooledClient(Loop& loop, net::Dialer& dialer, Metrics& metrics, ClientLimits limits)
    : dialer_(dialer), shared_(std::make_shared<ClientShared>(loop, metrics, limits)) {}

PooledClient::~PooledClient() {
  for (auto& [key, pool] : pools_) pool->close();
}

void PooledClient::retire_connections() {
  for (auto& [key, pool] : pools_) pool->close();
  pools_.clear();  // requests under way hold theirs
}

void PooledClient::retire_connections(const net::DialRequest& where) {
  const auto found = pools_.find(key_of(where));
  if (found == pools_.end()) return;
  const auto pool = std::move(found->second);
  pools_.erase(found);
  pool->close();
}

std::shared_ptr<HostPool> PooledClient::pool_for(const net::DialRequest& where) {
  auto& pool = pools_[key_of(where)];
  if (!pool) pool = std::make_shared<HostPool>(shared_);
  auto wanted = pool;
  if (pools_.size() > kManyPools) {
    std::erase_if(pools_, [&wanted](const auto& entry) {
      return entry.second != wanted && entry.second->unused() && entry.second.use_count() == 1;
    });
  }
  return wanted;
}

Ticket PooledClient::start(ClientRequest request, Done<ClientResponse> done) {
  LAYERD_ON_LOOP(shared_->loop);
  net::DialRequest& where = request.where;
  if (proxies_ && !where.proxy) where.proxy = proxies_->choose(where.tls, where.host, where.port);
  auto pool = pool_for(where);
  auto running = std::make_shared<RunningRequest>(shared_, std::move(pool), dialer_, std::move(request),
                                                  std::move(done));
  running->start();
  return Ticket(std::move(running));
}

}  // namespace layerd::http
