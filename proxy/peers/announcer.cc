#include "proxy/peers/announcer.h"

#include "proxy/peers/message_fields.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kPage = 128;                          // blobs looked at in one turn of the loop
constexpr Duration kSettle = std::chrono::seconds(1);       // changes are gathered for so long
constexpr Duration kRest = std::chrono::milliseconds(20);   // between two pages
constexpr Duration kLeastRound = std::chrono::seconds(30);  // from one whole round to the next
constexpr std::size_t kLetter = kMostHave / 2;              // sha512 digests fit as well

}  // namespace

Announcer::Announcer(SiteParts& parts) : parts_(parts) {}

bool Announcer::is_useful() const {
  return !parts_.self().empty() && parts_.coordinator.ranking().members().others() > 0;
}

void Announcer::change(const Digest& digest, bool is_here) {
  if (!is_useful()) return;
  for (const auto* member : parts_.keepers(digest)) {
    auto& have = changes_[member->id];
    auto& list = is_here ? have.blobs : have.gone;
    auto& other = is_here ? have.gone : have.blobs;
    std::erase(other, digest);
    if (list.size() < kLetter) list.push_back(digest);  // what is too much is told in the next round
  }
  if (!changes_timer_.held())
    changes_timer_ = parts_.loop.after(kSettle, "peers: records", [this] { send_changes(); });
}

void Announcer::send_changes() {
  changes_timer_ = {};
  auto changes = std::move(changes_);
  changes_.clear();
  for (auto& [to, have] : changes) {
    Tell tell;
    tell.have = std::move(have);
    parts_.deliver(to, std::move(tell));
  }
}

void Announcer::list_changed() {
  if (!is_useful()) return;
  std::uniform_int_distribution<Duration::rep> spread(0, Duration(std::chrono::seconds(2)).count());
  const auto earliest =
      last_round_ == TimePoint{} ? Duration::zero() : last_round_ + kLeastRound - parts_.now();
  begin_round_in(std::max(earliest, Duration::zero()) + Duration(spread(parts_.random)));
}

void Announcer::begin_round_in(Duration wait) {
  round_timer_ = parts_.loop.after(wait, "peers: records of all blobs", [this] {
    round_.clear();
    after_.reset();
    last_round_ = parts_.now();
    page();
  });
}

void Announcer::page() {
  const auto again = [this](Duration wait) {
    round_timer_ = parts_.loop.after(wait, "peers: records of all blobs", [this] { page(); });
  };
  if (parts_.sending.size() + parts_.waiting_letters > 64) return again(kRest * 5);
  const auto blobs = parts_.shelf.list(after_, kPage);
  for (const auto& digest : blobs)
    for (const auto* member : parts_.keepers(digest)) {
      auto& letter = round_[member->id];
      letter.have.blobs.push_back(digest);
      if (letter.have.blobs.size() == kLetter) send(member->id, letter);
    }
  if (blobs.size() == kPage) {
    after_ = blobs.back();
    return again(kRest);
  }
  for (auto& [to, letter] : round_)
    if (!letter.have.blobs.empty()) send(to, letter);
  round_.clear();
  std::uniform_int_distribution<Duration::rep> spread(0, parts_.settings.records_every.count() / 10);
  begin_round_in(parts_.settings.records_every - Duration(spread(parts_.random)));
}

void Announcer::send(const std::string& to, Letter& letter) {
  Tell tell;
  tell.have = std::move(letter.have);
  tell.have->is_all = !letter.is_begun;
  letter.is_begun = true;
  letter.have = {};
  parts_.deliver(to, std::move(tell));
}

}  // namespace layerd::peers
