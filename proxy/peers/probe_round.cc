#include "proxy/peers/probe_round.h"

namespace layerd::peers {
namespace {

class ProbeRound final : public Pending<std::vector<Candidate>> {
 public:
  ProbeRound(Loop& loop, Duration patience, std::size_t members, Done<std::vector<Candidate>> done)
      : Pending(std::move(done)), loop_(loop), patience_(patience), answers_(members), missing_(members) {}

  void begin(Wire& wire, const UnitName& unit, const std::vector<Member>& members) {
    if (members.empty()) {
      timer_ = loop_.post([this] { end(); });
      return;
    }
    for (std::size_t i = 0; i < members.size(); ++i)
      probes_.push_back(
          wire.probe(members[i], Probe{unit}, [this, i, id = members[i].id](Result<ProbeAnswer> how) {
            if (how) answers_[i] = Candidate{id, *std::move(how)};
            --missing_;
            if (missing_ == 0) return end();
            if (answers_[i] && answers_[i]->how.has_slot && !timer_.held())
              timer_ = loop_.after(patience_, "peers: probes", [this] { end(); });
          }));
  }

 private:
  void on_cancel() noexcept override { stop(); }
  void stop() {
    probes_.clear();
    timer_.reset();
  }
  void end() {
    stop();
    std::vector<Candidate> candidates;
    for (auto& answer : answers_)
      if (answer) candidates.push_back(*std::move(answer));
    answer(std::move(candidates));
  }

  Loop& loop_;
  const Duration patience_;
  std::vector<std::optional<Candidate>> answers_;
  std::size_t missing_;
  std::vector<Ticket> probes_;
  Ticket timer_;
};

}  // namespace

Ticket probe_all(Loop& loop, Wire& wire, const UnitName& unit, const std::vector<Member>& members,
                 Duration patience, Done<std::vector<Candidate>> done) {
  auto round = std::make_shared<ProbeRound>(loop, patience, members.size(), std::move(done));
  round->begin(wire, unit, members);
  return Ticket(std::move(round));
}

}  // namespace layerd::peers
