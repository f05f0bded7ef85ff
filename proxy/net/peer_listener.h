// PeerListener: where members connect. A connection is nobody's until its handshake has ended well: there are
// at most Limits::shaking of these, Limits::per_address from one address, for Limits::patience each; beyond
// that the oldest goes, so that who says nothing keeps nobody out. Who begins them over and over is closed
// unheard beyond begun_per_second. Then it is given on, with its card. Loop thread. Destroying it stops
// listening; streams it gave on live on.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "proxy/net/listener.h"
#include "proxy/net/peer_identity.h"
#include "runtime/metrics.h"

namespace layerd::net {

struct PeerListenerLimits {
  std::size_t shaking = 64;
  std::size_t per_address = 4;
  Duration patience = std::chrono::seconds(2);
  std::size_t per_member = 64;  // admitted ones from one address
  double begun_at_once = 128;   // handshakes from one address, which cost us a signature each
  double begun_per_second = 32;
  std::size_t most = 2048;  // connections in all
};

class PeerListener {
 public:
  // identity outlives it. admitted: the stream's card() is not null.
  PeerListener(UvLoop& loop, Workers& workers, PeerIdentity& identity, Metrics& metrics,
               Callback<void(ByteStreamPtr)> admitted, PeerListenerLimits limits = {});
  ~PeerListener();
  PeerListener(const PeerListener&) = delete;
  PeerListener& operator=(const PeerListener&) = delete;

  // As Listener's. Errors besides: config, when the identity is not usable: no member could be told from a
  // stranger.
  Result<Address> listen(const Address& address);
  Result<Address> adopt(int fd);
  void stop() { listener_.stop(); }
  const std::vector<Address>& addresses() const { return listener_.addresses(); }
  std::size_t shaking() const { return shaking_.size(); }

 private:
  struct Shaking;
  Result<Ok> check() const;
  void on_accepted(Accepted accepted);
  bool may_begin(const std::string& host);
  void make_room(const std::string& host);
  void secure(Shaking& one, Result<PeerTrustPtr> trust);
  void shaken(Shaking& one, Result<Ok> result);
  bool is_crowd(const std::string& host) const;
  void refuse(Shaking& one, const Error& why);
  void drop(Shaking& one);
  void tell(const std::string& host, const Error& why);

  UvLoop& loop_;
  Workers& workers_;
  PeerIdentity& identity_;
  Metrics& metrics_;
  Counter& admitted_count_;
  Callback<void(ByteStreamPtr)> admitted_;
  const PeerListenerLimits limits_;
  struct Allowance {
    double left = 0;  // handshakes
    TimePoint at{};
  };
  std::list<std::unique_ptr<Shaking>> shaking_;  // the oldest first
  std::map<std::string, Allowance> allowances_;  // by address; who has all of his is not in it
  std::map<std::string, TimePoint> told_;        // refusals in the log: "host diagnosis"
  Listener listener_;
};

}  // namespace layerd::net
