#include "proxy/http/server.h"

#include <algorithm>

namespace layerd::http {

namespace {

// One timer serves every idle, head, send and linger time-out; this is how often it may fire.
constexpr Duration kSweepPause = std::chrono::milliseconds(20);

}  // namespace

struct Server::Draining final : Operation {
  Draining(Server& server_, Callback<void()> done_) : server(&server_), done(std::move(done_)) {}
  void cancel() noexcept override {
    done = nullptr;
    if (server != nullptr) server->grace_.reset();
  }
  Server* server;  // null once the server is gone
  Callback<void()> done;
};

Server::Server(Loop& loop_, Service& service_, Metrics& metrics, ServerLimits limits_)
    : ServerShared(loop_, service_, metrics, limits_),
      accepted_(metrics.counter("layerd_http_connections_total", "Connections accepted from clients.")),
      turned_away_(metrics.counter("layerd_http_connections_turned_away_total",
                                   "Connections refused because the bound was reached.")),
      open_(metrics.gauge("layerd_http_connections", "Connections of clients that are open now.")) {}

Server::~Server() {
  if (drain_) drain_->server = nullptr;
  connections_.clear();
  open_.set(0);
}

void Server::adopt(net::ByteStreamPtr stream) {
  LAYERD_ON_LOOP(loop);
  accepted_.add();
  if (draining || connections_.size() >= limits.connections + kTurnedAway) {
    if (!draining) turned_away_.add();
    return;  // the stream closes here
  }
  const bool has_room = connections_.size() < limits.connections;
  ServerShared& shared = *this;
  auto& connection = connections_.emplace_back(std::make_unique<ServerConnection>(shared, std::move(stream)));
  connection->place = connections_.size() - 1;
  open_.set(static_cast<std::int64_t>(connections_.size()));
  if (has_room) return connection->start();
  turned_away_.add();
  connection->turn_away();
}

void Server::retire(ServerConnection& connection) {
  const std::size_t place = connection.place;
  retired_.push_back(std::move(connections_[place]));
  if (place + 1 < connections_.size()) {
    connections_[place] = std::move(connections_.back());
    connections_[place]->place = place;
  }
  connections_.pop_back();
  open_.set(static_cast<std::int64_t>(connections_.size()));
  if (retired_.size() == 1) burying_ = loop.post([this] { bury(); });
}

void Server::bury() {
  retired_.clear();
  if (!connections_.empty() || !drain_) return;
  grace_.reset();
  const auto draining_now = std::exchange(drain_, nullptr);
  draining_now->server = nullptr;  // its Ticket may outlive us
  if (auto done = std::move(draining_now->done)) done();
}

void Server::wake_by(TimePoint time) {
  if (time >= next_sweep_) return;
  next_sweep_ = time;
  sweeping_ = loop.after(std::max(time - loop.now(), kSweepPause), "http time-outs", [this] { sweep(); });
}

void Server::sweep() {
  next_sweep_ = TimePoint::max();
  const TimePoint now = loop.now();
  // From the back: a connection that retires is replaced by one that has been seen already.
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size() && connections_[i]->deadline() <= now) connections_[i]->on_deadline();
  }
  TimePoint earliest = TimePoint::max();
  for (const auto& connection : connections_) earliest = std::min(earliest, connection->deadline());
  if (earliest != TimePoint::max()) wake_by(earliest);
}

Ticket Server::drain(Duration grace, Callback<void()> done) {
  LAYERD_ON_LOOP(loop);
  draining = true;
  if (drain_) drain_->server = nullptr;
  drain_ = std::make_shared<Draining>(*this, std::move(done));
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) connections_[i]->drain();
  }
  if (connections_.empty() && retired_.empty()) burying_ = loop.post([this] { bury(); });
  grace_ = loop.after(grace, "drain of http connections", [this] { cut_all(); });
  return Ticket(drain_);
}

// Whoever was told just now may linger a moment to read it.
void Server::cut_all() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) connections_[i]->cut();
  }
}

}  // namespace layerd::http
