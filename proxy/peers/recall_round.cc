// What the site remembers: many members are asked what they know of a name, a few at a time; and the bytes of
// what one of them knows.
#include <algorithm>
#include <deque>

#include "proxy/peers/site.h"
#include "proxy/peers/site_parts.h"
#include "runtime/answer_later.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostAsked = 64;
constexpr std::size_t kAtOnce = 16;
constexpr Duration kPatience = std::chrono::milliseconds(1'500);

class RecallRound final : public Pending<std::vector<Recalled>> {
 public:
  RecallRound(SiteParts& parts, Recall recall, Done<std::vector<Recalled>> done)
      : Pending(std::move(done)), parts_(parts), recall_(std::move(recall)) {}

  // Not even the name of what is not shared leaves this node.
  void begin() {
    if (!parts_.may_share(recall_.registry, recall_.repository)) {
      start_ = parts_.loop.post([this] { end(); });
      return;
    }
    std::vector<Member> members;
    for (const auto& member : parts_.coordinator.ranking().members().all())
      if (member.id != parts_.self() && !parts_.acquaintances.is_banned(member.id, parts_.now()))
        members.push_back(member);
    std::shuffle(members.begin(), members.end(), parts_.random);
    std::stable_partition(members.begin(), members.end(),
                          [zone = parts_.zone()](const Member& member) { return member.zone == zone; });
    const auto silent = std::stable_partition(
        members.begin(), members.end(), [this](const Member& member) { return parts_.is_source(member.id); });
    waiting_.assign(members.begin(), silent);
    silent_.assign(silent, members.end());
    if (waiting_.size() > kMostAsked) waiting_.resize(kMostAsked);
    silent_.resize(std::min(silent_.size(), kMostAsked - waiting_.size()));
    timer_ = parts_.loop.after(kPatience, "peers: recall", [this] { end(); });
    start_ = parts_.loop.post([this] { more(); });
  }

 private:
  void on_cancel() noexcept override { stop(); }
  void stop() {
    timer_.reset();
    start_.reset();
    asked_.clear();
  }
  void end() {
    stop();
    answer(std::move(known_));
  }
  void more() {
    // Upstream is of no use: those that fell silent may be there all the same, and nothing better is left.
    if (running_ == 0 && waiting_.empty() && known_.empty()) waiting_ = std::exchange(silent_, {});
    while (running_ < kAtOnce && !waiting_.empty()) {
      const auto member = std::move(waiting_.front());
      waiting_.pop_front();
      ++running_;
      asked_.push_back(
          parts_.wire.recall(member, recall_, [this, id = member.id](Result<RecallAnswer> answer) {
            --running_;
            if (answer && answer->known) known_.push_back({id, *std::move(answer)});
            more();
          }));
    }
    if (running_ == 0 && waiting_.empty()) end();
  }

  SiteParts& parts_;
  const Recall recall_;
  std::deque<Member> waiting_, silent_;  // silent_: left alone; asked where the others know nothing
  std::vector<Recalled> known_;
  std::size_t running_ = 0;
  std::vector<Ticket> asked_;
  Ticket timer_;
  Ticket start_;
};

}  // namespace

Ticket Site::recall(const Recall& recall, Done<std::vector<Recalled>> done) {
  auto round = std::make_shared<RecallRound>(*parts_, recall, std::move(done));
  round->begin();
  return Ticket(std::move(round));
}

Ticket Site::get(const std::string& member, const BlobName& blob, ByteCount size, Done<UnitAnswer> done) {
  const auto refuse = [this, &done](Error why) {
    return answer_later<UnitAnswer>(parts_->loop, std::move(why), std::move(done));
  };
  if (!parts_->may_share(blob.registry, blob.repository))
    return refuse({Errc::denied, blob.key() + " is not shared by this node"});
  if (!parts_->is_source(member)) return refuse({Errc::upstream_unreachable, member + " is left alone"});
  if (size == 0 || size > kUnit)
    return refuse({Errc::invalid_request, "that is more than one unit, or none"});
  UnitGet get;
  get.unit = {blob, 0, false};
  get.range = {0, size};
  return parts_->wire.get(parts_->member(member), get, std::move(done));
}

void Site::avoid(const std::string& member, std::string_view why) {
  parts_->acquaintances.ban(member, parts_->settings.banned, why, parts_->now());
}

}  // namespace layerd::peers
