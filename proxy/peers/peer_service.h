// PeerService: the other end of HttpWire: connections that a PeerListener admitted, their requests, the Desk
// that answers them, and the bytes of uploads (docs/peers.md "On the wire"). Loop thread.
//
// Bounds: a message has at most kMostMessage bytes; a member asks at most so often, gets at most so many
// streams; all streams together get what limits.upload says, in turns. A slow reader holds up only itself.
// What breaks off ends with FIN short of Content-Length.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "proxy/http/server.h"
#include "proxy/net/peer_identity.h"
#include "proxy/peers/traffic.h"
#include "proxy/peers/wire.h"
#include "runtime/metrics.h"
#include "runtime/rate_limit.h"

namespace layerd::peers {

struct PeerServiceLimits {
  double requests_per_second = 1000;  // of one member; twice as many at once
  std::size_t streams = 32;           // to one member at once
  http::ServerLimits server = server_limits();
  static http::ServerLimits server_limits();
};

class PeerService final : public http::Service {
 public:
  // All given objects outlive it.
  PeerService(Loop& loop, net::PeerIdentity& identity, Desk& desk, Traffic& traffic, Metrics& metrics,
              PeerServiceLimits limits = {});
  ~PeerService() override;

  // A connection of a member; what PeerListener gives.
  void adopt(net::ByteStreamPtr stream) { server_->adopt(std::move(stream)); }
  // Bytes per second to all members together; 0: no limit.
  void set_upload_limit(ByteCount rate) { upload_.set(rate); }
  // As http::Server::drain.
  Ticket drain(Duration grace, Callback<void()> done) { return server_->drain(grace, std::move(done)); }
  std::size_t connections() const { return server_->connections(); }
  std::size_t streams() const { return streams_now_; }

  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override;
  void ended(const Summary& summary) override;

 private:
  struct Guest;
  using GuestPtr = std::shared_ptr<Guest>;
  class Stream;

  std::optional<std::string> admit(http::Exchange& exchange);
  bool is_within_rate(Guest& guest);
  GuestPtr guest_of(const std::string& id);
  std::unique_ptr<http::Handler> serve_blob(http::Exchange& exchange, const std::string& from);
  void serve_message(http::Exchange& exchange, const std::string& from, std::string_view kind);
  template <class Message, class Answer>
  void answer(http::Exchange& exchange, Result<Message> message, Answer answer);
  http::ResponseHead head(int status, std::string reason = {}) const;
  void refuse(http::Exchange& exchange, const Error& why, int status = 0);

  Loop& loop_;
  net::PeerIdentity& identity_;
  Desk& desk_;
  Traffic& traffic_;
  Metrics& metrics_;
  Counter& sent_;
  Gauge& streams_gauge_;
  const PeerServiceLimits limits_;
  RateLimit upload_;
  std::size_t streams_now_ = 0;
  std::size_t readers_ = 0;  // a number for each guest, for the turns of upload_
  std::map<std::string, GuestPtr> guests_;
  std::map<std::string, TimePoint> told_;  // faults of members in the log: "id status"
  Metrics unseen_;                         // the server's own counters are of clients
  std::unique_ptr<http::Server> server_;   // last: its handlers use all of the above
};

}  // namespace layerd::peers
