#include "proxy/peers/unit_search.h"

#include <algorithm>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/probe_round.h"
#include "proxy/peers/recheck.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

class UnitSearch final : public Pending<UnitSource> {
 public:
  UnitSearch(std::shared_ptr<ShareCore> share, std::uint32_t unit, ByteRange rest, Done<UnitSource> done)
      : Pending(std::move(done)),
        share_(std::move(share)),
        parts_(share_->parts()),
        unit_(unit),
        rest_(rest),
        name_(share_->name(unit)) {}

  // Who seeks the same again and again waits longer each time, whatever the reason is.
  void begin() {
    auto& one = part();
    one.in_vain = one.in_vain > 0 && rest_.first <= one.sought_from ? one.in_vain + 1 : 1;
    one.sought_from = rest_.first;
    share_->seeks(unit_);
    constexpr unsigned kFree = 4;
    if (one.in_vain <= kFree) {
      pending_ = parts_.loop.post([this] { first(); });
      return;
    }
    const auto doubled = parts_.settings.vain_first * (1u << std::min(one.in_vain - kFree - 1, 10u));
    pending_ = parts_.loop.after(std::min<Duration>(doubled, parts_.settings.vain_most), "peers: in vain",
                                 [this] { first(); });
  }

 private:
  UnitPart& part() { return share_->part(unit_); }

  void on_cancel() noexcept override { stop(); }
  void stop() {
    count_out();
    pending_.reset();
    holders_.reset();
    stream_.reset();
  }

  void first() {
    if (parts_.rechecks.count(name_.blob.digest) != 0) {  // it will say whom to avoid
      pending_ = wait_for_recheck(parts_, name_.blob.digest, [this](const Result<Ok>&) { first(); });
      return;
    }
    if (parts_.alone.count(name_.blob.digest) != 0) return upstream(false);  // members spoiled it twice
    // Members have said the same against the claim, or one after the other was wrong: upstream decides.
    if (part().refusals >= 2) return wait_for_turn();
    part().have = rest_.first - range_of(name_, std::nullopt).first;
    const std::string prefer = std::move(part().prefer);
    part().prefer.clear();
    holders_ = share_->learn_holders([this](const Result<Ok>&) { holders_known(); });
    leased_ = part().is_leased;  // what brought it under this lease failed, or the watchdog fetched a lease
    if (leased_) return;         // until the holders are known
    if (!prefer.empty()) return consider({prefer}, After::ask);
    if (share_->is_wanted(unit_) || is_ours()) return ask();  // others wait for it, or will be sent to us
    pending_ = parts_.ask_turns.wait([this](const Result<Ok>&) {
      is_counted_ = true;
      ask();
    });
  }

  bool is_ours() const {
    const auto best = parts_.coordinator.ranking().first(name_.blob.digest, name_.unit, 1);
    return !best.empty() && best.front()->id == parts_.self();
  }
  void count_out() {
    if (std::exchange(is_counted_, false)) parts_.ask_turns.answered();
  }

  // What to do when none of the candidates will have us.
  enum class After : std::uint8_t { ask, upstream_leased, upstream_turn };

  void ask() {
    if (rounds_ == parts_.settings.rounds) return without_coordinator();
    Ask ask;
    ask.unit = name_;
    ask.have = part().have;
    ask.rights = share_->rights();
    ask.avoid = share_->avoided(unit_);
    ask.needs_claim = must_wait_for_claim();
    pending_ = ask_coordinator(parts_, std::move(ask), [this](Result<Directed> directed) {
      if (!directed) return count_out(), without_coordinator();
      if (directed->answer.kind != AskAnswer::Kind::fetch) count_out();
      on_answer(*std::move(directed));
    });
  }

  void on_answer(Directed directed) {
    auto& answer = directed.answer;
    if (share_->is_whole() != name_.whole) {  // another search found that out meanwhile
      parts_.teller.gave_up(directed.coordinator, {name_, false});
      return turned_whole();
    }
    part().coordinator = directed.coordinator;
    part().told = parts_.now();
    // Whoever is to blame may have fetched this unit as well, and says what fits its own bytes: the
    // coordinator shall have it fetched by somebody else.
    const bool is_doubtful = parts_.acquaintances.is_banned(answer.claimed_by, parts_.now()) ||
                             share_->is_suspect(unit_, answer.claimed_by);
    part().claim = is_doubtful ? std::nullopt : answer.claim;
    if (is_doubtful && !answer.claimed_by.empty()) share_->avoid(unit_, answer.claimed_by);
    if (answer.whole && !name_.whole) return turned_whole();
    switch (answer.kind) {
      case AskAnswer::Kind::fetch:
        share_->set_leased(part(), true);
        count_out();
        leased_ = true;
        is_new_ = directed.is_new;
        return holders_are_known_ ? from_holders(After::upstream_leased) : void();
      case AskAnswer::Kind::from:
        if (must_wait_for_claim()) return is_doubtful ? again_in(Duration::zero()) : wait_for_claim();
        return consider(answer.sources, After::ask);
      case AskAnswer::Kind::busy:
        if (must_wait_for_claim()) return wait_for_claim();
        [[fallthrough]];
      case AskAnswer::Kind::redirect:
        return again_in(answer.wait);
    }
  }

  // A blob that members spoiled once they shall not spoil again: each of their units is compared with what
  // upstream gave to somebody, when that is known, or it is fetched upstream.
  bool must_wait_for_claim() { return share_->is_careful() && !share_->is_claimed(unit_); }
  void wait_for_claim() {
    if (++claim_waits_ > parts_.settings.claim_waits) return without_coordinator();
    pending_ = parts_.loop.after(parts_.settings.claim_wait, "peers: a unit's hash", [this] { ask(); });
  }

  // However long it says: the download that waits for this has less patience than another member has words.
  void again_in(Duration wait) {
    ++rounds_;
    pending_ = parts_.loop.after(std::min(wait, 2 * parts_.settings.book.busy), "peers: busy coordinator",
                                 [this] { ask(); });
  }

  // A lease does not mean that nobody has it: members may hold the whole blob of whom the coordinator does
  // not know, or bring it since before it coordinated. We take it from one of them, and the others from us.
  void holders_known() {
    holders_are_known_ = true;
    if (leased_) from_holders(After::upstream_leased);
  }

  void from_holders(After after) {
    leased_ = false;
    auto ids = share_->holders();
    std::shuffle(ids.begin(), ids.end(), parts_.random);
    const auto zone = parts_.zone();
    std::stable_partition(ids.begin(), ids.end(),
                          [&](const std::string& id) { return parts_.member(id).zone == zone; });
    ids.resize(std::min(ids.size(), kMostSources));
    if (is_new_)
      for (const auto& id : share_->neighbours())
        if (!contains(ids, id)) ids.push_back(id);
    consider(std::move(ids), after);
  }

  // Nobody coordinates: those who gave neighbouring units, those who hold the blob, then upstream.
  void without_coordinator() {
    share_->give_up(unit_);
    auto ids = share_->neighbours();
    for (const auto& holder : share_->holders())
      if (ids.size() < 2 * kMostSources) ids.push_back(holder);
    consider(std::move(ids), After::upstream_turn);
  }

  // Who of these is the least busy? One alone is not asked before.
  void consider(std::vector<std::string> ids, After after) {
    if (must_wait_for_claim()) ids.clear();
    for (const auto& id : ids)  // the coordinator does not know whom we cannot, or do not want to, ask
      if (!parts_.is_source(id)) share_->avoid(unit_, id);
    std::erase_if(ids, [this](const std::string& id) { return is_avoided(id); });
    if (ids.size() == 1 && after == After::ask) {
      candidates_.assign(1, Candidate{ids.front(), {}});
      return take(after);
    }
    pending_ = probe_all(parts_.loop, parts_.wire, name_, parts_.members(ids), parts_.settings.probe_wait,
                         [this, after, ids](Result<std::vector<Candidate>> answered) {
                           choose(*std::move(answered), ids, after);
                         });
  }

  bool is_avoided(const std::string& id) { return id == part().left || contains(part().avoid, id); }

  void choose(std::vector<Candidate> answered, const std::vector<std::string>& ids, After after) {
    const auto have = part().have;
    const auto self = parts_.self();
    bool is_full = false;
    for (const auto& one : answered) {
      if (one.how.has_slot) continue;
      is_full = true;
      full_.push_back(one.id);
    }
    std::erase_if(answered, [&](const Candidate& one) {
      const auto& path = one.how.path;
      const bool is_fed_by_us = std::find(path.begin(), path.end(), self) != path.end();
      const bool is_tainted = share_->is_tainted(unit_, one.id, path);
      if (is_fed_by_us || is_tainted) share_->avoid(unit_, one.id);
      // Without a coordinator nobody says that it is still on its way: only what is there counts.
      const bool has_it = after == After::ask || one.how.complete || one.how.have > have;
      return is_fed_by_us || is_tainted || !one.how.has_slot || !has_it;
    });
    if (answered.empty() && !is_full)
      for (const auto& id : ids) share_->avoid(unit_, id);
    for (auto& one : answered) one.how.load += parts_.streams.begun_lately(one.id);
    const auto key = [have](const Candidate& one) {
      return std::make_pair(!one.how.complete && one.how.have < have, one.how.load);
    };
    std::stable_sort(answered.begin(), answered.end(),
                     [&](const Candidate& a, const Candidate& b) { return key(a) < key(b); });
    candidates_ = std::move(answered);
    take(after);
  }

  // The best that is left; when none is, what comes behind.
  void take(After after) {
    if (candidates_.empty()) return none_left(after);
    const auto id = candidates_.front().id;
    candidates_.erase(candidates_.begin());
    UnitGet get{name_, rest_, parts_.uploads.children_of(key_of(name_))};
    get.path.push_back(parts_.self());
    if (get.path.size() > kMostIds) get.path.erase(get.path.begin(), get.path.end() - kMostIds);
    stream_ = std::make_shared<UnitStream>(parts_.streams, share_, name_, id);
    pending_ = parts_.wire.get(parts_.member(id), get, [this, id, after](Result<UnitAnswer> answered) {
      if (answered && fits(*answered) && !share_->is_tainted(unit_, id, answered->path))
        return opened(*std::move(answered));
      stream_.reset();
      note_refusal(id, answered ? "its answer does not fit" : answered.error().message);
      if (!answered && answered.error().code == Errc::overloaded)
        full_.push_back(id);
      else
        share_->avoid(unit_, id);
      take(after);
    });
  }

  void note_refusal(const std::string& id, std::string_view why) {
    LogLine(LogLevel::debug, "member_refused")
        .field("member", id)
        .field("digest", share_->blob().digest.str())
        .field("unit", std::uint64_t{unit_})
        .field("why", printable(why));
  }

  // The range that was asked for, but for an end behind that of the blob; and nobody we feed ourselves.
  bool fits(const UnitAnswer& answer) {
    if (!answer.body || answer.total > kMostBytes || answer.range.first != rest_.first) return false;
    if (share_->total() && *share_->total() != answer.total) return false;
    if (answer.range.empty() || answer.range.end != std::min(rest_.end, answer.total)) return false;
    const auto children = parts_.uploads.children_of(key_of(name_));
    return std::none_of(answer.path.begin(), answer.path.end(), [&](const std::string& id) {
      return id == parts_.self() || std::find(children.begin(), children.end(), id) != children.end();
    });
  }

  void opened(UnitAnswer answered) {
    answered.path.resize(std::min(answered.path.size(), kMostIds));
    stream_->opened(answered.range, std::move(answered.path));
    share_->begins(unit_, stream_);
    UnitSource source;
    source.from = UnitSource::From::member;
    source.member = stream_->member();
    source.total = answered.total;
    source.range = answered.range;
    source.is_leased = part().is_leased;
    source.body = stream_->body(std::move(answered.body));
    end(std::move(source));
  }

  void none_left(After after) {
    switch (after) {
      case After::ask:
        if (full_.empty()) {
          ++rounds_;
          return ask();
        }
        // They had their time: whoever coordinates shall name others, or send us upstream.
        if (++slot_waits_ > parts_.settings.slot_waits) {
          ++rounds_;
          for (const auto& id : full_) share_->avoid(unit_, id);
        }
        full_.clear();
        pending_ = parts_.loop.after(parts_.settings.slot_wait, "peers: a slot", [this] { ask(); });
        return;
      case After::upstream_leased:
        return upstream(true);
      case After::upstream_turn:
        return wait_for_turn();
    }
  }

  void wait_for_turn() {
    if (parts_.is_alone()) return upstream(false);  // as if there were no peers
    std::uniform_int_distribution<Duration::rep> draw(0, parts_.settings.jitter.count());
    pending_ = parts_.loop.after(Duration(draw(parts_.random)), "peers: jitter", [this] {
      pending_ = parts_.turns.wait([this](Result<Turn> turn) {
        part().turn = *std::move(turn);
        parts_.metrics.leaseless.add();
        upstream(false);
      });
    });
  }

  void upstream(bool leased) {
    share_->begins_upstream(unit_);
    UnitSource source;
    source.range = rest_;
    source.total = share_->total().value_or(0);
    source.is_leased = leased;
    end(std::move(source));
  }

  void turned_whole() {
    share_->turn_whole();
    stop();
    answer(Error{Errc::canceled, "upstream ignores ranges for this blob: it is asked for as a whole", 0, 0,
                 "whole_blob"});
  }

  void end(UnitSource source) {
    if (share_->is_whole() != name_.whole) return turned_whole();
    stop();
    answer(std::move(source));
  }

  const std::shared_ptr<ShareCore> share_;
  SiteParts& parts_;
  const std::uint32_t unit_;
  const ByteRange rest_;
  const UnitName name_;
  unsigned rounds_ = 0, slot_waits_ = 0, claim_waits_ = 0;
  bool is_counted_ = false;        // among the asks that are under way
  std::vector<std::string> full_;  // candidates without a slot
  bool leased_ = false;            // waits for the holders to be known
  bool is_new_ = false;            // who gave the lease coordinates since a moment ago
  bool holders_are_known_ = false;
  std::vector<Candidate> candidates_;
  std::shared_ptr<UnitStream> stream_;
  Ticket pending_;
  Ticket holders_;
};

}  // namespace

Ticket start_search(const std::shared_ptr<ShareCore>& share, std::uint32_t unit, ByteRange rest,
                    Done<UnitSource> done) {
  auto search = std::make_shared<UnitSearch>(share, unit, rest, std::move(done));
  search->begin();
  return Ticket(std::move(search));
}

}  // namespace layerd::peers
