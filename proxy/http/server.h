// The HTTP server: the connections of one or more listeners, their bounds and their end.
// Loop thread. The Service must outlive it. Destroying it closes every connection at once.
#pragma once

#include <memory>
#include <vector>

#include "proxy/http/server_connection.h"

namespace layerd::http {

class Server final : private ServerShared {
 public:
  Server(Loop& loop, Service& service, Metrics& metrics, ServerLimits limits = {});
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes over an accepted connection. Past limits.connections it is answered 503 and closed; past
  // kTurnedAway more of these it is closed without a word.
  void adopt(net::ByteStreamPtr stream);

  // Ends gently: idle connections close at once, running exchanges may go on for `grace`, then are
  // broken off (503 where no head was sent). `done` runs when the last connection has gone, soon
  // after `grace` at the latest. Connections adopted from now on are closed at once.
  // Dropping the Ticket: nobody is told, and nothing is broken off.
  Ticket drain(Duration grace, Callback<void()> done);

  std::size_t connections() const { return connections_.size(); }

  static constexpr std::size_t kTurnedAway = 64;

 private:
  struct Draining;

  void retire(ServerConnection& connection) override;
  void wake_by(TimePoint time) override;
  void sweep();
  void bury();
  void cut_all();

  Counter& accepted_;
  Counter& turned_away_;
  Gauge& open_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
  std::vector<std::unique_ptr<ServerConnection>> retired_;  // deleted when the stack is theirs no more
  TimePoint next_sweep_ = TimePoint::max();
  std::shared_ptr<Draining> drain_;
  Ticket sweeping_;
  Ticket burying_;
  Ticket grace_;
};

}  // namespace layerd::http
