// FailoverFlow: the endpoints of a Target in order, again after a pause, until one answers or the time
// is over. Decides which errors are worth another try and which of several is told. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "proxy/upstream/request_flow.h"
#include "runtime/backoff.h"

namespace layerd::upstream {

// Might the same request to the same endpoint succeed in a moment?
bool is_worth_retrying(const Error& error);
// The one that tells most about why there is no object; a 404 only if all are. Not empty.
Error most_telling(const std::vector<Error>& errors);

class FailoverFlow final : public Pending<FetchResponse> {
 public:
  FailoverFlow(FlowParts& parts, registry::RulesPtr rules, FetchRequest request, Done<FetchResponse> done);
  // Once.
  void start();

 private:
  struct Candidate {
    std::size_t endpoint = 0;
    std::optional<Error> error;  // of its last attempt, or why there was none
    bool is_skipped = false;     // the breaker's word: not asked again by this fetch
  };
  void begin_round();
  void next();
  std::optional<std::size_t> choose();
  void skip_waiting();
  bool may_do_better(const Candidate& candidate) const;
  void try_endpoint(std::size_t candidate);
  void on_answer(Result<FetchResponse> response);
  void on_failure(Error error);
  void end_round();
  Deadline attempt_deadline() const;
  void count(std::string_view result);
  void finish(Result<FetchResponse> result);
  void fail();
  void on_cancel() noexcept override;

  FlowParts& parts_;
  registry::RulesPtr rules_;
  FetchRequest request_;
  Deadline deadline_;
  Backoff backoff_;
  std::vector<Candidate> candidates_;  // in the order to try
  std::vector<std::size_t> waiting_;   // of this round, indices into candidates_, next first
  std::size_t current_ = 0;
  std::size_t round_ = 0;
  std::size_t attempts_ = 0;
  std::size_t attempts_of_round_ = 0;
  LedgerEntry ledger_entry_;

  std::unique_ptr<RequestFlow> attempt_;
  Ticket attempt_limit_;
  Ticket pause_;  // before the first round, and between rounds
};

}  // namespace layerd::upstream
