#include "proxy/peers/rejoin.h"

#include <algorithm>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/probe_round.h"
#include "proxy/peers/unit_search.h"

namespace layerd::peers {
namespace {

constexpr ByteCount kNear = 1_MiB;

class Rejoin final : public Pending<Ok> {
 public:
  Rejoin(const std::shared_ptr<ShareCore>& share, std::uint32_t unit)
      : Pending([](const Result<Ok>&) {}), share_(share), parts_(share->parts()), unit_(unit) {}

  void begin() {
    const auto share = share_.lock();
    Ask ask;
    ask.unit = share->name(unit_);
    ask.have = share->part(unit_).have;
    ask.rights = share->rights();
    ask.avoid = share->avoided(unit_);
    pending_ = ask_coordinator(parts_, std::move(ask), [this](Result<Directed> directed) {
      if (directed) on_answer(*std::move(directed));
    });
  }

 private:
  void on_cancel() noexcept override { pending_.reset(); }

  // Null: it is not ours to fetch any more.
  UnitPart* part(const std::shared_ptr<ShareCore>& share) const {
    auto* part = share && !share->is_closed() ? share->find_part(unit_) : nullptr;
    return part != nullptr && ShareCore::is_ours(*part) ? part : nullptr;
  }

  void on_answer(Directed directed) {
    const auto share = share_.lock();
    auto* one = part(share);
    const auto kind = directed.answer.kind;
    if (one == nullptr) {
      if (share && kind == AskAnswer::Kind::fetch)
        parts_.teller.gave_up(directed.coordinator, {share->name(unit_), false});
      return;
    }
    if (kind != AskAnswer::Kind::fetch && kind != AskAnswer::Kind::from) {
      if (one->coordinator == directed.coordinator)
        share->set_leased(*one, false);  // who asks ends his lease
      return;
    }
    if (!one->coordinator.empty() && one->coordinator != directed.coordinator)
      parts_.teller.gave_up(one->coordinator, {share->name(unit_), false});
    one->coordinator = directed.coordinator;
    one->told = parts_.now();
    share->set_leased(*one, kind == AskAnswer::Kind::fetch);
    if (kind == AskAnswer::Kind::fetch) return;
    auto ids = directed.answer.sources;
    std::erase_if(ids, [this](const std::string& id) { return !parts_.is_source(id); });
    pending_ = probe_all(parts_.loop, parts_.wire, share->name(unit_), parts_.members(ids),
                         parts_.settings.probe_wait,
                         [this](const Result<std::vector<Candidate>>& answered) { on_probed(*answered); });
  }

  void on_probed(const std::vector<Candidate>& answered) {
    const auto share = share_.lock();
    auto* one = part(share);
    if (one == nullptr) return;
    const auto has_less = [](const Candidate& a, const Candidate& b) {
      return std::pair(a.how.complete, a.how.have) < std::pair(b.how.complete, b.how.have);
    };
    const auto best = std::max_element(answered.begin(), answered.end(), has_less);
    if (best == answered.end()) return;
    if (goes_before(*best, one->have)) {
      if (best->how.has_slot && !contains(best->how.path, parts_.self())) share->yield(unit_, *one, best->id);
      return;
    }
    for (const auto& other : answered)
      if (other.how.path.empty() && !other.how.complete) parts_.teller.taken(other.id, {share->name(unit_)});
  }

  // Of two that fetch it and are about as far both must say the same: the one of the smaller id goes on.
  bool goes_before(const Candidate& other, ByteCount have) const {
    if (other.how.complete || other.how.have > have + kNear) return true;
    return other.how.have + kNear >= have && other.how.path.empty() && other.id < parts_.self();
  }

  const std::weak_ptr<ShareCore> share_;  // which holds us
  SiteParts& parts_;
  const std::uint32_t unit_;
  Ticket pending_;
};

}  // namespace

Ticket start_rejoin(const std::shared_ptr<ShareCore>& share, std::uint32_t unit) {
  auto rejoin = std::make_shared<Rejoin>(share, unit);
  rejoin->begin();
  return Ticket(std::move(rejoin));
}

}  // namespace layerd::peers
