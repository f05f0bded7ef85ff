// The HTTP client over pooled connections. Loop thread.
//
// Redirects and credentials are not its business. Tickets and body readers may outlive it; they keep
// what they need. The dialer must outlive them all.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "proxy/http/client.h"
#include "proxy/http/host_pool.h"

namespace layerd::http {

class PooledClient final : public Client {
 public:
  PooledClient(Loop& loop, net::Dialer& dialer, Metrics& metrics, ClientLimits limits = {});
  ~PooledClient() override;
  PooledClient(const PooledClient&) = delete;
  PooledClient& operator=(const PooledClient&) = delete;

  Ticket start(ClientRequest request, Done<ClientResponse> done) override;

  // From the next request on; connections there are stay.
  void set_connections_per_host(std::size_t most) { shared_->limits.connections_per_host = most; }
  // Which requests go through an HTTP proxy, from the next on; null: none.
  void set_proxies(net::ProxyRulesPtr proxies) { proxies_ = std::move(proxies); }
  // Names may lead elsewhere from now on: idle connections are closed, and those in use after their request.
  void retire_connections();
  // The same of one of them: who asked there found it dead.
  void retire_connections(const net::DialRequest& where);
  std::size_t idle_connections() const { return shared_->idle_now; }

 private:
  std::shared_ptr<HostPool> pool_for(const net::DialRequest& where);

  net::Dialer& dialer_;
  const std::shared_ptr<ClientShared> shared_;
  net::ProxyRulesPtr proxies_;
  std::map<std::string, std::shared_ptr<HostPool>> pools_;
};

}  // namespace layerd::http
