// PeerDialer: connects to members: TCP within a moment, then who they are and who we are. Loop thread.
//
// Our own handshakes with one address are at most kAtOnce at a time, the others wait in line: its listener
// would take more than twice as many for a crowd, and it sees a handshake's end later than we do.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "proxy/net/connect_race.h"
#include "proxy/net/dialer.h"
#include "proxy/net/peer_identity.h"

namespace layerd::net {

struct PeerDialerSettings {
  Duration connect = std::chrono::milliseconds(250);  // a live member of the site answers within it
  Duration hello = std::chrono::seconds(1);           // the handshake, and waiting in line for it
  Route route;                                        // for tests, see ConnectRace
};

class PeerDialer final : public Dialer {
 public:
  static constexpr std::size_t kAtOnce = 2;

  // identity outlives it, and it the calls to it.
  PeerDialer(UvLoop& loop, Workers& workers, PeerIdentity& identity, PeerDialerSettings settings = {});
  ~PeerDialer() override;

  // host: numeric. Of the request only host, port and deadline count. Errors: upstream_unreachable (no
  // connection within `connect`, refused, broken off), upstream_timeout (the handshake), denied (diagnosis
  // peer_address: an address of this machine or its links alone, at which no member can be),
  // upstream_protocol and config as PeerStream and PeerIdentity say.
  Ticket dial(const DialRequest& request, Done<ByteStreamPtr> done) override;

 private:
  struct Dial;
  struct Line;
  bool may_dial(const Address& address) const;

  UvLoop& loop_;
  Workers& workers_;
  PeerIdentity& identity_;
  const PeerDialerSettings settings_;
  std::map<std::string, Line> lines_;  // by address, where somebody dials
};

}  // namespace layerd::net
