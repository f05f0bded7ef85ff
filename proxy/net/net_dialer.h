// NetDialer: the Dialer over real sockets: resolver, address rules, happy eyeballs, TLS. Loop thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proxy/net/address_policy.h"
#include "proxy/net/connect_race.h"
#include "proxy/net/dialer.h"
#include "proxy/net/resolver.h"
#include "proxy/net/tls_context.h"

namespace layerd::net {

struct DialerSettings {
  Duration next_address = std::chrono::milliseconds(250);  // RFC 8305: Connection Attempt Delay
  Duration most = std::chrono::seconds(30);                // of one dial without a deadline of its own
  Route route;                                             // for tests, see ConnectRace
};

class NetDialer final : public Dialer {
 public:
  // All given objects outlive the dialer, and the dialer the calls to it.
  NetDialer(UvLoop& loop, Workers& workers, Resolver& resolver, TlsContexts& contexts,
            DialerSettings settings = {});

  // Our own listening addresses, never dialled for anybody.
  void set_listeners(std::vector<Address> listeners) { rules_.set_listeners(std::move(listeners)); }

  Ticket dial(const DialRequest& request, Done<ByteStreamPtr> done) override;

 private:
  struct Dial;
  struct Winner {
    bool is_ipv6;
    TimePoint expires;
  };
  // IPv6 and IPv4 in turns, the family that won last first.
  std::vector<Address> in_turns(const std::string& host, std::vector<Address> addresses) const;
  void remember(const std::string& host, bool is_ipv6);

  UvLoop& loop_;
  Workers& workers_;
  Resolver& resolver_;
  TlsContexts& contexts_;
  DialerSettings settings_;
  AddressRules rules_;
  std::map<std::string, Winner> winners_;
};

}  // namespace layerd::net
