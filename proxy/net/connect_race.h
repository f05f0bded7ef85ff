// ConnectRace: happy eyeballs (RFC 8305 §5). Tries addresses in the order given, the next one when one
// fails or has been silent for the delay; the first that connects wins. Loop thread. Destroying it
// closes every attempt.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/net/fd.h"
#include "proxy/net/poller.h"
#include "proxy/net/stream.h"

namespace layerd::net {

struct Connected {
  Fd fd;
  Address peer, local;
};

// Where an address really leads; for tests, which reach only loopback. Empty: to itself.
using Route = std::function<Address(const Address&)>;

class ConnectRace {
 public:
  ConnectRace(UvLoop& loop, std::vector<Address> addresses, Duration delay, Route route);
  // Errors: upstream_unreachable with diagnosis connect_refused, connect_timeout, network_unreachable or
  // connect_failed; the sentence lists the addresses.
  void start(Done<Connected> done);
  // What is being tried, for the sentence of a deadline: "10.1.2.3:443, [::1]:443".
  std::string tried() const;

 private:
  struct Attempt {
    Address address;
    Fd fd;
    std::unique_ptr<Poller> poller;
  };
  void next();
  void on_ready(Attempt* attempt);
  void win(Attempt* attempt);
  Error failure() const;

  UvLoop& loop_;
  std::vector<Address> addresses_;
  std::size_t begun_ = 0;
  Duration delay_;
  Route route_;
  Done<Connected> done_;
  std::vector<std::pair<Address, int>> lost_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  Ticket turn_;
};

}  // namespace layerd::net
