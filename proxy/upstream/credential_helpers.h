// CredentialHelpers: runs credential helpers and keeps what they answered for as long as it counts.
// One run at a time for one question, however many ask. Loop thread.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "proxy/upstream/helper_protocol.h"
#include "runtime/children.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::upstream {

struct HelperAnswer {
  registry::Credentials credentials;  // empty: the helper has none for this place
  bool is_fresh = true;               // false: kept for a while; a refusal is a reason to ask again
};

class CredentialHelpers {
 public:
  // References outlive this.
  CredentialHelpers(Loop& loop, Children& children, Metrics& metrics)
      : loop_(loop), children_(children), metrics_(metrics) {}
  CredentialHelpers(const CredentialHelpers&) = delete;
  CredentialHelpers& operator=(const CredentialHelpers&) = delete;
  // Whoever still waits is never answered.
  ~CredentialHelpers();

  // Errors: config, naming the helper; kept for 10 s. overloaded: 16 helpers run already.
  // Dropping the Ticket: the helper goes on, for whoever asks next.
  Ticket ask(const HelperRequest& request, Done<HelperAnswer> done);
  // What it said was refused: it is asked again next time.
  void forget(const HelperRequest& request);

  std::size_t size() const { return kept_.size(); }

 private:
  struct Waiter;
  struct Kept {
    Result<HelperReply> reply;
    TimePoint since, until;
  };
  struct Run {
    HelperRequest request;
    std::list<std::shared_ptr<Waiter>> waiters;
    Ticket child;
  };

  const Kept* find(const HelperRequest& request) const;
  void on_end(const std::string& question, Result<ChildEnd> end);
  void keep(const HelperRequest& request, const Result<HelperReply>& reply);
  void leave(const std::string& question, const Waiter& waiter) noexcept;

  Loop& loop_;
  Children& children_;
  Metrics& metrics_;
  std::map<std::string, Kept> kept_;
  std::map<std::string, Run> running_;
};

}  // namespace layerd::upstream
