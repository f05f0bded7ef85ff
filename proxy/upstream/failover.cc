#include "proxy/upstream/failover.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/upstream/wire.h"

namespace layerd::upstream {
namespace {

// How much an error tells: a registry's own word before a failure of the way there.
int weight(const Error& error) {
  switch (error.code) {
    case Errc::denied:
      return 9;
    case Errc::config:
      return 8;
    case Errc::upstream_status:
      return error.status == 429 ? 7 : 6;
    case Errc::refused_by_policy:
    case Errc::range_unsatisfiable:  // of a range we asked for; others may be right about the blob
      return 5;
    case Errc::upstream_protocol:
      return 4;
    case Errc::truncated:
      return 3;
    case Errc::upstream_unreachable:
      return error.diagnosis.starts_with("tls_") || error.diagnosis == "scheme_mismatch" ||
                     error.diagnosis == "proxy_failed" || error.diagnosis == "dns_suspicious"
                 ? 5
                 : 2;
    case Errc::not_found:
      return 0;
    default:
      return 1;
  }
}

}  // namespace

bool is_worth_retrying(const Error& error) {
  switch (error.code) {
    case Errc::upstream_unreachable:
      if (error.diagnosis == "proxy_failed") return error.status == 0 || error.status >= 500;
      return error.diagnosis != "dns_not_found" && error.diagnosis != "scheme_mismatch" &&
             error.diagnosis != "dns_suspicious" && !error.diagnosis.starts_with("tls_");
    case Errc::upstream_timeout:
    case Errc::truncated:
    case Errc::overloaded:
      return true;
    case Errc::upstream_status:
      return error.status == 408 || error.status == 429 || error.status >= 500;
    default:
      return false;
  }
}

Error most_telling(const std::vector<Error>& errors) {
  LAYERD_CHECK(!errors.empty());
  const auto chosen = std::max_element(errors.begin(), errors.end(),
                                       [](const Error& a, const Error& b) { return weight(a) < weight(b); });
  Error told = *chosen;
  for (auto error = errors.begin(); error != errors.end(); ++error)
    if (error != chosen && told.message.size() < 600) told.message += "; also: " + error->message;
  return told;
}

FailoverFlow::FailoverFlow(FlowParts& parts, registry::RulesPtr rules, FetchRequest request,
                           Done<FetchResponse> done)
    : Pending<FetchResponse>(std::move(done)),
      parts_(parts),
      rules_(std::move(rules)),
      request_(std::move(request)),
      deadline_(request_.deadline.is_set() ? request_.deadline
                                           : Deadline::in(parts.loop.now(), parts.settings.total)),
      backoff_(parts.settings.backoff_first, parts.settings.backoff_most),
      ledger_entry_(parts.loop.ledger(), "upstream fetch", request_.target->key(), parts.loop.now()) {
  const auto count = request_.target->endpoints.size();
  const auto wanted = request_.only_first_endpoint ? std::min<std::size_t>(count, 1) : count;
  for (std::size_t i = 0; i < wanted; ++i) candidates_.push_back({(request_.first_endpoint + i) % count, {}});
}

void FailoverFlow::start() {
  pause_ = parts_.loop.post([this] { begin_round(); });
}

bool FailoverFlow::may_do_better(const Candidate& candidate) const {
  return !candidate.is_skipped && (!candidate.error || is_worth_retrying(*candidate.error));
}

void FailoverFlow::begin_round() {
  ++round_;
  attempts_of_round_ = 0;
  waiting_.clear();
  for (std::size_t i = 0; i < candidates_.size(); ++i)
    if (may_do_better(candidates_[i])) waiting_.push_back(i);
  next();
}

void FailoverFlow::next() {
  if (waiting_.empty()) return end_round();
  if (const auto chosen = choose()) return try_endpoint(*chosen);
  skip_waiting();
  end_round();
}

// The next endpoint whose breaker is closed. When it is open for all and none was asked in this
// round, the first that did not fail a moment ago. Nothing: leave the rest alone.
std::optional<std::size_t> FailoverFlow::choose() {
  const auto origin = [this](std::size_t candidate) {
    return origin_name(request_.target->endpoints[candidates_[candidate].endpoint].base);
  };
  auto chosen = std::find_if(waiting_.begin(), waiting_.end(),
                             [&](std::size_t i) { return parts_.health.is_usable(origin(i)); });
  if (chosen == waiting_.end() && attempts_of_round_ == 0)
    chosen = std::find_if(waiting_.begin(), waiting_.end(),
                          [&](std::size_t i) { return !parts_.health.fresh_failure(origin(i)); });
  if (chosen == waiting_.end()) return std::nullopt;
  const auto candidate = *chosen;
  waiting_.erase(chosen);
  return candidate;
}

// What is left alone counts as failed, by the failure that opened its breaker.
void FailoverFlow::skip_waiting() {
  for (const auto waiting : std::exchange(waiting_, {})) {
    auto& candidate = candidates_[waiting];
    candidate.is_skipped = true;
    candidate.error =
        parts_.health.last_failure(origin_name(request_.target->endpoints[candidate.endpoint].base));
  }
}

void FailoverFlow::try_endpoint(std::size_t candidate) {
  current_ = candidate;
  ++attempts_of_round_;
  if (attempts_++ > 0) parts_.retries.add();
  attempt_ = std::make_unique<RequestFlow>(parts_, request_, *rules_, candidates_[candidate].endpoint,
                                           attempt_deadline());
  attempt_limit_ =
      parts_.loop.at(attempt_deadline(), "upstream attempt", [this] { on_failure(attempt_->expired()); });
  attempt_->start([this](Result<FetchResponse> response) { on_answer(std::move(response)); });
}

// Half of what is left, so that a silent endpoint leaves time for the next one.
Deadline FailoverFlow::attempt_deadline() const {
  if (waiting_.empty()) return deadline_;
  const auto now = parts_.loop.now();
  const auto share = std::max(deadline_.left(now) / 2, parts_.settings.shortest_attempt);
  return Deadline::in(now, share).sooner(deadline_);
}

void FailoverFlow::on_answer(Result<FetchResponse> response) {
  if (!response) return on_failure(std::move(response).error());
  count("ok");
  finish(std::move(response));
}

void FailoverFlow::on_failure(Error error) {
  count(name_of(error.code));
  attempt_limit_.reset();
  attempt_.reset();
  candidates_[current_].error = std::move(error);
  if (deadline_.passed(parts_.loop.now())) return fail();
  next();
}

// All were asked: again after a pause if that may help and there is time.
void FailoverFlow::end_round() {
  std::optional<std::chrono::seconds> soonest;
  bool may_help = false, may_all_wait = true;
  for (const auto& candidate : candidates_) {
    if (!candidate.error || !may_do_better(candidate)) continue;
    may_help = true;
    const auto wish = candidate.error->retry_after;
    if (!wish) may_all_wait = false;
    if (wish) soonest = std::min(soonest.value_or(*wish), *wish);
  }
  if (!may_help || request_.is_spare || round_ >= parts_.settings.rounds) return fail();
  Duration wait = backoff_.next();
  if (may_all_wait && soonest) wait = std::max(wait, Duration(*soonest));
  if (wait >= deadline_.left(parts_.loop.now())) return fail();
  pause_ = parts_.loop.after(wait, "upstream backoff", [this] { begin_round(); });
}

void FailoverFlow::count(std::string_view result) {
  parts_.metrics
      .counter("layerd_upstream_requests_total", "Attempts to get an object from an endpoint, by result.",
               {{"result", std::string(result)}})
      .add();
}

void FailoverFlow::fail() {
  std::vector<Error> errors;
  for (auto& candidate : candidates_) {
    // An endpoint that was never asked might have had it: a 404 of the others is not the answer.
    if (!candidate.error)
      candidate.error = Error{Errc::upstream_timeout,
                              fmt::format("{} was not asked: no time was left",
                                          origin_name(request_.target->endpoints[candidate.endpoint].base))};
    errors.push_back(std::move(*candidate.error));
  }
  if (errors.empty())
    errors.push_back(
        {Errc::config, fmt::format("no endpoint is configured for {}", request_.target->registry)});
  finish(most_telling(errors));
}

void FailoverFlow::finish(Result<FetchResponse> result) {
  attempt_limit_.reset();
  pause_.reset();
  attempt_.reset();
  answer(std::move(result));
}

void FailoverFlow::on_cancel() noexcept {
  attempt_limit_.reset();
  pause_.reset();
  attempt_.reset();
}

}  // namespace layerd::upstream
