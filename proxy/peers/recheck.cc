#include "proxy/peers/recheck.h"

#include <algorithm>
#include <map>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/unit_search.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kAtOnce = 16;
constexpr Duration kPatience = std::chrono::seconds(2);

class Recheck final : public Operation {
 public:
  Recheck(SiteParts& parts, BlobName blob, std::vector<Received> received)
      : parts_(parts), blob_(std::move(blob)), received_(std::move(received)) {}

  void begin() {
    timer_ = parts_.loop.after(kPatience, "peers: recheck", [this] { end(); });
    // Whoever fetched the last units tells their hashes with a delay.
    start_ = parts_.loop.after(2 * parts_.settings.tell_after, "peers: recheck", [this] { more(); });
  }
  void cancel() noexcept override {
    timer_.reset();
    start_.reset();
    asked_.clear();
  }

 private:
  void more() {
    while (running_ < kAtOnce && next_ < received_.size()) {
      const auto& one = received_[next_++];
      if (one.chain.empty()) continue;
      ++running_;
      Ask ask;
      ask.unit = {blob_, one.unit, false};
      ask.about.assign(one.chain.begin(),
                       one.chain.begin() + static_cast<std::ptrdiff_t>(std::min(one.chain.size(), kMostIds)));
      asked_.push_back(ask_coordinator(parts_, std::move(ask), [this, &one](Result<Directed> directed) {
        --running_;
        if (directed) on_answer(one, *directed);
        more();
      }));
    }
    if (running_ == 0 && next_ == received_.size()) end();
  }

  void on_answer(const Received& one, const Directed& directed) {
    // Nothing is fetched by it now.
    if (directed.answer.kind == AskAnswer::Kind::fetch)
      parts_.teller.gave_up(directed.coordinator, {{blob_, one.unit, false}, false});
    if (!directed.answer.claim) return;
    if (*directed.answer.claim == one.sha256) return;
    wrong_.push_back(one);
    narrow(wrong_.back().chain, directed.answer.agree);
  }

  // The chain begins with who gave us the unit. Who passed wrong bytes on in good faith says another hash
  // than the claim. So they became wrong at the first one that says the claim, or at who took them from it.
  static void narrow(std::vector<std::string>& chain, const std::vector<std::string>& agree) {
    const auto first = std::find_if(chain.begin(), chain.end(),
                                    [&agree](const std::string& id) { return contains(agree, id); });
    if (first == chain.end()) return;
    chain.erase(first + 1, chain.end());
    if (chain.size() > 2) chain.erase(chain.begin(), chain.end() - 2);
  }

  // Who is to blame when the blob is here rightly, too.
  void remember() {
    const auto suspects = parts_.suspects.find(blob_.digest);
    if (suspects == parts_.suspects.end()) return;
    for (auto& received : suspects->second.received) {
      received.is_open = wrong_.empty();
      for (const auto& one : wrong_)
        if (one.unit == received.unit && one.sha256 == received.sha256) received.chain = one.chain;
    }
  }

  void end() {
    const auto self =
        std::exchange(parts_.rechecks[blob_.digest], Ticket());  // we live until the end of this
    parts_.rechecks.erase(blob_.digest);
    cancel();
    remember();
    avoid_blamed(parts_, blamed(wrong_, parts_.acquaintances));
    answer_waiters();
  }

  void answer_waiters() {
    const auto waiting = parts_.recheck_waiters.extract(blob_.digest);
    if (waiting.empty()) return;
    for (const auto& one : waiting.mapped()) parts_.loop.post_detached([one] { one->answer(Ok{}); });
  }

  SiteParts& parts_;
  const BlobName blob_;
  const std::vector<Received> received_;
  std::vector<Received> wrong_;
  std::size_t next_ = 0, running_ = 0;
  std::vector<Ticket> asked_;
  Ticket timer_, start_;
};

}  // namespace

Blame blamed(std::vector<Received> wrong, const Acquaintances& acquaintances) {
  Blame blame;
  std::erase_if(wrong, [](const Received& one) { return one.chain.empty(); });
  while (!wrong.empty()) {
    using Weight = std::pair<std::size_t, std::uint64_t>;  // of chains, of suspicions before
    std::map<std::string, Weight> weights;
    for (const auto& one : wrong)
      for (const auto& id : one.chain) ++weights[id].first;
    Weight most{};
    for (auto& [id, weight] : weights) {
      weight.second = acquaintances.suspicions(id);
      most = std::max(most, weight);
    }
    std::set<std::string> these;
    for (const auto& [id, weight] : weights)
      if (weight == most) these.insert(id);
    (these.size() == 1 ? blame.guilty : blame.suspects).insert(these.begin(), these.end());
    std::erase_if(wrong, [&](const Received& one) {
      return std::any_of(one.chain.begin(), one.chain.end(),
                         [&](const std::string& id) { return these.count(id) != 0; });
    });
  }
  return blame;
}

void avoid_blamed(SiteParts& parts, const Blame& blame) {
  for (const auto& id : blame.guilty)
    parts.acquaintances.ban(id, parts.settings.banned, "it sent wrong bytes", parts.now());
  for (const auto& id : blame.suspects)
    parts.acquaintances.suspect(id, parts.settings.suspected, parts.now());
}

Ticket start_recheck(SiteParts& parts, const BlobName& blob, std::vector<Received> received) {
  auto recheck = std::make_shared<Recheck>(parts, blob, std::move(received));
  recheck->begin();
  return Ticket(std::move(recheck));
}

Ticket wait_for_recheck(SiteParts& parts, const Digest& digest, Done<Ok> done) {
  auto waiting = std::make_shared<Pending<Ok>>(std::move(done));
  parts.recheck_waiters[digest].push_back(waiting);
  return Ticket(std::move(waiting));
}

}  // namespace layerd::peers
