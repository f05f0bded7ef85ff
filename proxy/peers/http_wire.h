// HttpWire: the Wire over HTTP/1.1 and TLS (docs/peers.md "On the wire"). Loop thread. Bodies may outlive it,
// Tickets may not; identity, traffic and metrics outlive them all.
#pragma once

#include <string>

#include "proxy/http/client_pool.h"
#include "proxy/net/peer_dialer.h"
#include "proxy/peers/traffic.h"
#include "proxy/peers/wire.h"
#include "runtime/metrics.h"

namespace layerd::peers {

struct HttpWireSettings {
  net::PeerDialerSettings dialer;
  Duration answer = std::chrono::seconds(1);  // from the question to the head of the answer, all of it
  Duration stall = std::chrono::seconds(10);  // longest silence within a body; the Site leaves sooner
  std::size_t connections_per_member = 32;    // about 24 streams and the small messages between them
  std::size_t idle_connections = 256;         // over all members
  Duration idle = std::chrono::seconds(60);   // shorter than the other end's
};

class HttpWire final : public Wire {
 public:
  HttpWire(UvLoop& loop, Workers& workers, net::PeerIdentity& identity, Traffic& traffic, Metrics& metrics,
           HttpWireSettings settings = {});
  ~HttpWire() override;

  Ticket ask(const Member& to, const Ask& ask, Done<AskAnswer> done) override;
  Ticket probe(const Member& to, const Probe& probe, Done<ProbeAnswer> done) override;
  Ticket who(const Member& to, const Who& who, Done<WhoAnswer> done) override;
  Ticket recall(const Member& to, const Recall& recall, Done<RecallAnswer> done) override;
  Ticket tell(const Member& to, const Tell& tell, Done<Ok> done) override;
  Ticket get(const Member& to, const UnitGet& get, Done<UnitAnswer> done) override;

  std::size_t idle_connections() const { return client_.idle_connections(); }

 private:
  template <class T>
  struct Call;
  struct Get;

  template <class T>
  Ticket post(const Member& to, const char* kind, std::string text, Result<T> (*parse)(std::string_view),
              Done<T> done);
  http::ClientRequest request_to(const Member& to, std::string method, std::string target) const;
  void check_calling();
  std::optional<Error> refusal(const Member& to, const http::ResponseHead& head, MemberTraffic& member);
  Error failed(const Member& to, const char* kind, Error error, MemberTraffic& member);

  UvLoop& loop_;
  net::PeerIdentity& identity_;
  Traffic& traffic_;
  Metrics& metrics_;
  Counter& received_;
  const HttpWireSettings settings_;
  net::PeerDialer dialer_;
  Metrics unseen_;  // the client's own counters are of upstreams
  http::PooledClient client_;
  std::string calling_;  // what we said on the connections there are
};

}  // namespace layerd::peers
