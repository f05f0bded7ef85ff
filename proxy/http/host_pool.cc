#include "proxy/http/host_pool.h"

#include <algorithm>

namespace layerd::http {

// One asker in line; leaves it when taken back.
struct HostPool::Waiter final : Pending<Lease> {
  Waiter(std::weak_ptr<HostPool> pool_, bool fresh_, Done<Lease> done)
      : Pending<Lease>(std::move(done)), pool(std::move(pool_)), fresh(fresh_) {}
  void on_cancel() noexcept override {
    const auto there = pool.lock();
    if (!there) return;
    const auto left =
        std::erase_if(there->line_, [this](const auto& waiter) { return waiter.get() == this; });
    there->shared_->waiting_gauge.add(-static_cast<std::int64_t>(left));
  }
  const std::weak_ptr<HostPool> pool;
  const bool fresh;
};

ClientShared::ClientShared(Loop& loop_, Metrics& metrics, const ClientLimits& limits_)
    : loop(loop_),
      limits(limits_),
      opened(metrics.counter("layerd_upstream_connections_opened_total", "Connections made to upstreams.")),
      reused(metrics.counter("layerd_upstream_connections_reused_total",
                             "Requests to upstreams that went over an idle connection.")),
      resent(metrics.counter("layerd_upstream_requests_resent_total",
                             "Requests sent again because an idle connection had been closed.")),
      idle_gauge(metrics.gauge("layerd_upstream_connections_idle", "Idle connections to upstreams.")),
      waiting_gauge(metrics.gauge("layerd_upstream_requests_waiting",
                                  "Requests that wait for a free connection to their upstream.")) {}

HostPool::Lease::Lease(std::shared_ptr<HostPool> pool, std::unique_ptr<ClientConnection> connection,
                       bool single_use)
    : pool_(std::move(pool)), connection_(std::move(connection)), single_use_(single_use) {}

HostPool::Lease& HostPool::Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = std::move(other.pool_);
  connection_ = std::move(other.connection_);
  single_use_ = other.single_use_;
  return *this;
}

void HostPool::Lease::release() {
  auto connection = std::move(connection_);
  if (single_use_) connection.reset();
  if (const auto pool = std::exchange(pool_, nullptr)) pool->give_back(std::move(connection));
}

HostPool::~HostPool() { count_idle(-static_cast<std::ptrdiff_t>(idle_.size())); }

void HostPool::count_idle(std::ptrdiff_t change) {
  shared_->idle_now = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(shared_->idle_now) + change);
  shared_->idle_gauge.set(static_cast<std::int64_t>(shared_->idle_now));
}

std::optional<HostPool::Lease> HostPool::try_take(bool fresh) {
  if (!line_.empty() || busy_ >= shared_->limits.connections_per_host) return std::nullopt;
  return take(fresh);
}

// A place is free. The youngest idle connection is the least likely to be closed meanwhile.
HostPool::Lease HostPool::take(bool fresh) {
  ++busy_;
  std::unique_ptr<ClientConnection> connection;
  if (!fresh && !idle_.empty()) {
    connection = std::move(idle_.back().connection);
    idle_.pop_back();
    count_idle(-1);
    connection->stop_watching();
  }
  while (busy_ + idle_.size() > shared_->limits.connections_per_host && !idle_.empty()) drop_oldest();
  return Lease(shared_from_this(), std::move(connection), fresh);
}

Ticket HostPool::wait(bool fresh, Done<Lease> done) {
  auto waiter = std::make_shared<Waiter>(weak_from_this(), fresh, std::move(done));
  line_.push_back(waiter);
  shared_->waiting_gauge.add(1);
  return Ticket(std::move(waiter));
}

void HostPool::give_back(std::unique_ptr<ClientConnection> connection) {
  --busy_;
  if (connection && !closed_) {
    connection->skip_rest();
    if (connection->reusable()) keep(std::move(connection));
  }
  connection.reset();
  serve_line();
}

void HostPool::keep(std::unique_ptr<ClientConnection> connection) {
  if (shared_->idle_now >= shared_->limits.idle_connections) return;
  ClientConnection* raw = connection.get();
  idle_.push_back({std::move(connection), shared_->loop.now() + shared_->limits.idle});
  count_idle(1);
  raw->watch([this, raw] { forget(raw); });
  if (!expiry_.held()) {
    expiry_ = shared_->loop.after(shared_->limits.idle, "idle upstream connections", [this] { expire(); });
  }
}

// The first in line gets the free place, by a posted answer: nobody is called from in here.
void HostPool::serve_line() {
  while (!line_.empty() && busy_ < shared_->limits.connections_per_host) {
    const auto waiter = std::move(line_.front());
    line_.pop_front();
    shared_->waiting_gauge.add(-1);
    shared_->loop.post_detached([waiter, lease = take(waiter->fresh)]() mutable {
      if (waiter->wanted()) waiter->answer(std::move(lease));
    });
  }
}

void HostPool::forget(const ClientConnection* connection) {
  const auto found = std::find_if(idle_.begin(), idle_.end(), [connection](const Idle& idle) {
    return idle.connection.get() == connection;
  });
  if (found == idle_.end()) return;
  count_idle(-1);
  idle_.erase(found);
}

void HostPool::drop_oldest() {
  count_idle(-1);
  idle_.pop_front();
}

void HostPool::expire() {
  expiry_.reset();
  const TimePoint now = shared_->loop.now();
  while (!idle_.empty() && idle_.front().until <= now) drop_oldest();
  if (idle_.empty()) return;
  expiry_ = shared_->loop.after(idle_.front().until - now, "idle upstream connections", [this] { expire(); });
}

void HostPool::close() {
  closed_ = true;
  expiry_.reset();
  while (!idle_.empty()) drop_oldest();
}

}  // namespace layerd::http
