#include "proxy/confirmations.h"

#include <fmt/core.h>

#include "runtime/answer_later.h"

namespace layerd::proxy {
Ticket Confirmations::ask(const registry::TargetPtr& target, const Digest& digest, upstream::Kind kind,
                          Done<Confirmed> done) {
  const std::string name =
      fmt::format("{}{}@{}", kind == upstream::Kind::blob ? 'b' : 'm', target->question(), digest.str());
  if (!questions_.contains(name) && questions_.size() >= kMostQuestions)
    return answer_later<Confirmed>(parts_.loop, too_many_questions("digests"), std::move(done));
  auto& question = questions_[name];
  if (question) return question->waiters.add(std::move(done));
  question = std::make_unique<Question>();
  upstream::FetchRequest request;
  request.target = target;
  request.kind = kind;
  request.head_only = true;
  request.reference = digest.str();
  request.upstream_only = !links_.may_be_told(target->key(), digest, target->as.who);
  request.deadline = Deadline::in(parts_.loop.now(), kSourceWithin);
  question->asking = parts_.fetcher.fetch(
      std::move(request), [this, name, target, digest, kind](Result<upstream::FetchResponse> answer) {
        answered(name, target, digest, kind, std::move(answer));
      });
  return question->waiters.add(std::move(done));
}

void Confirmations::answered(const std::string& name, const registry::TargetPtr& target, const Digest& digest,
                             upstream::Kind kind, Result<upstream::FetchResponse> answer) {
  auto question = std::move(questions_.extract(name).mapped());
  if (!answer) return question->waiters.answer(answer.error());
  // It may have come here while members were asked.
  const bool is_told = !answer->member.empty();
  if (is_told && !links_.may_be_told(target->key(), digest, target->as.who))
    return question->waiters.answer(
        Error{Errc::upstream_unreachable,
              fmt::format("no upstream can be asked whether {} belongs to {}", digest.str(), target->key())});
  if (kind == upstream::Kind::blob && !is_told) {
    cache::Link link{digest, cache::LinkKind::confirmed, answer->total.value_or(0), {}};
    links_.put(target->key(), {std::move(link)});
  }
  question->waiters.answer(Confirmed{answer->total, is_told});
}

}  // namespace layerd::proxy
