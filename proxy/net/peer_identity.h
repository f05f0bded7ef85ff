// PeerIdentity: what this node shows and accepts (PeerTrust), kept in step with its files; and the
// connections that rest on it. Loop thread, but for the reading of files.
//
// The files are looked at when somebody dials or is accepted, at most every look_again, and as often while
// there are connections: those that rest on a secret or a certificate that is gone are closed. New files that
// are bad, or not there, change nothing but fault(): the old content counts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/net/peer_trust.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::net {

class PeerStream;

// The connections between members that were admitted and live.
struct PeerConnections {
  std::set<PeerStream*> all;
  std::function<void()> begun;  // one was added; empty once the identity is gone
};

class PeerIdentity {
 public:
  PeerIdentity(Loop& loop, Workers& workers, PeerIdentitySettings settings, std::string own_id,
               Duration look_again = std::chrono::milliseconds(500));
  ~PeerIdentity();
  PeerIdentity(const PeerIdentity&) = delete;
  PeerIdentity& operator=(const PeerIdentity&) = delete;

  // At the start: reads the files here and now. Errors: config; there must be no listener then. Blocks.
  Result<Ok> load();
  // On a reload: these count as soon as they have been read.
  void configure(PeerIdentitySettings settings);
  // Called when other content of the files counts from now on. It must not destroy us.
  void when_changed(std::function<void()> changed) { changed_ = std::move(changed); }
  // From the next connection on.
  void set_own(std::string id) { own_ = std::move(id); }

  bool is_usable() const { return trust_ != nullptr; }
  // Why the last look at the files brought nothing; empty: it did.
  const std::string& fault() const { return fault_; }
  const std::string& own() const { return own_; }
  const std::string& site() const { return settings_.site; }
  // For people: "site secret 0123456789abcdef (and 1 more)", "certificates of /etc/…/ca.pem".
  std::string describe() const;
  std::size_t connections() const { return connections_->all.size(); }

  // What counts now. The files are looked at first; where the disk keeps that waiting for longer than 100 ms
  // what counted before is given, and whom it admits wrongly is closed as soon as the look ends. Errors:
  // config, when nothing usable was ever read.
  Ticket trust(Done<PeerTrustPtr> done);
  const std::shared_ptr<PeerConnections>& registry() const { return connections_; }

 private:
  using Waiter = Pending<PeerTrustPtr>;
  void look();
  void looked(Result<PeerTrustPtr> result);
  void review();
  void tick();
  void answer_waiting();

  Loop& loop_;
  Workers& workers_;
  PeerIdentitySettings settings_;
  std::string own_;
  const Duration look_again_;
  PeerTrustPtr trust_;
  std::string fault_;
  std::function<void()> changed_;
  std::optional<TimePoint> checked_;
  const std::shared_ptr<PeerConnections> connections_ = std::make_shared<PeerConnections>();
  std::vector<std::shared_ptr<Waiter>> waiting_;
  Ticket job_;
  Ticket patience_;  // of those who wait
  Ticket tick_;
};

}  // namespace layerd::net
