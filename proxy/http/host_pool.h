// The connections to one upstream (scheme, host, port, TLS settings, address policy): which are busy,
// which idle, and who waits in line. Loop thread. Held by the client and by every lease.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "proxy/http/client_connection.h"
#include "runtime/metrics.h"

namespace layerd::http {

struct ClientLimits {
  std::size_t connections_per_host = 32;  // >= 1; requests beyond wait in line
  std::size_t idle_connections = 64;      // kept over all hosts
  Duration idle = std::chrono::seconds(60);
};

// What all host pools of one client share.
struct ClientShared {
  ClientShared(Loop& loop_, Metrics& metrics, const ClientLimits& limits_);
  Loop& loop;
  ClientLimits limits;
  std::size_t idle_now = 0;
  Counter& opened;
  Counter& reused;
  Counter& resent;
  Gauge& idle_gauge;
  Gauge& waiting_gauge;
};

class HostPool : public std::enable_shared_from_this<HostPool> {
 public:
  // A place among connections_per_host, with a connection or (before dialling) without. Dropped, it
  // frees the place; the connection goes back to the idle ones if it is reusable by then.
  class Lease {
   public:
    Lease() = default;
    // single_use: the connection is closed afterwards in any case.
    Lease(std::shared_ptr<HostPool> pool, std::unique_ptr<ClientConnection> connection, bool single_use);
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { release(); }
    void release();
    explicit operator bool() const { return pool_ != nullptr; }
    ClientConnection* connection() { return connection_.get(); }
    void set_connection(std::unique_ptr<ClientConnection> connection) { connection_ = std::move(connection); }

   private:
    std::shared_ptr<HostPool> pool_;
    std::unique_ptr<ClientConnection> connection_;
    bool single_use_ = false;
  };

  explicit HostPool(std::shared_ptr<ClientShared> shared) : shared_(std::move(shared)) {}
  ~HostPool();

  // A place at once, if one is free and nobody waits. fresh: without a connection in any case, and
  // the one that is made for it is not kept.
  std::optional<Lease> try_take(bool fresh);
  // Waits in line. Dropping the Ticket leaves it. Never fails: the deadline is the asker's.
  Ticket wait(bool fresh, Done<Lease> done);

  // Closes the idle connections; none is kept from now on.
  void close();
  // Nobody waits and at least half of the places are free; a single place never is.
  bool has_spare() const { return line_.empty() && busy_ < shared_->limits.connections_per_host / 2; }
  bool unused() const { return busy_ == 0 && idle_.empty() && line_.empty(); }
  std::size_t busy() const { return busy_; }
  std::size_t idle() const { return idle_.size(); }

 private:
  struct Waiter;
  struct Idle {
    std::unique_ptr<ClientConnection> connection;
    TimePoint until;
  };

  Lease take(bool fresh);
  void give_back(std::unique_ptr<ClientConnection> connection);
  void keep(std::unique_ptr<ClientConnection> connection);
  void serve_line();
  void forget(const ClientConnection* connection);
  void expire();
  void drop_oldest();
  void count_idle(std::ptrdiff_t change);

  const std::shared_ptr<ClientShared> shared_;
  std::size_t busy_ = 0;
  std::list<Idle> idle_;  // the oldest first
  std::list<std::shared_ptr<Waiter>> line_;
  bool closed_ = false;
  Ticket expiry_;
};

}  // namespace layerd::http
