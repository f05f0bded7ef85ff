#include "proxy/peers/review.h"

#include <algorithm>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/probe_round.h"
#include "proxy/peers/unit_search.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

constexpr ByteCount kAhead = 1_MiB;

class Review {
 public:
  Review(SiteParts& parts, UnitStream& stream, Suspicion suspicion)
      : parts_(parts), stream_(stream), suspicion_(suspicion) {
    const auto share = stream.share();
    const auto* part = share ? share->find_part(stream.unit().unit) : nullptr;
    if (part == nullptr || part->has_complained) suspicion_.needs_root = false;
  }

  void begin() {
    pending_ = parts_.wire.probe(parts_.member(stream_.member()), Probe{stream_.unit()},
                                 [this](Result<ProbeAnswer> how) { on_source(std::move(how)); });
  }

 private:
  ByteCount here() const { return stream_.position() - range_of(stream_.unit(), std::nullopt).first; }
  double rate() const { return std::max(1.0, stream_.rate(parts_.now())); }
  bool is_faster(const ProbeAnswer& how) const {
    return how.has_slot && static_cast<double>(how.rate) > parts_.settings.faster * rate();
  }

  // In another zone than we and who gives us the unit: what we would take from there our zone gets already,
  // and what lies between the zones is not wider for it. But who takes it from there may be slow itself.
  bool is_far(const std::string& id) const {
    return !head_is_slow_ && is_near(stream_.member()) && !is_near(id);
  }
  bool is_near(const std::string& id) const { return parts_.member(id).zone == parts_.zone(); }

  // A node that is much slower than this one, whatever it is asked for.
  bool is_slow_node(const ProbeAnswer& how) const {
    const double all = static_cast<double>(how.rate) * (how.load + 1);
    return all > 0 && all * (parts_.settings.faster - 1) < parts_.speeds.best_of_all();
  }
  void judge_root(const std::string& id, const ProbeAnswer& root) {
    const auto share = stream_.share();
    const auto* part = share ? share->find_part(stream_.unit().unit) : nullptr;
    const bool may_complain = part != nullptr && !part->has_complained;
    if (may_complain && suspicion_.is_slow && is_slow_node(root) &&
        !parts_.speeds.upstream_brings_less(parts_.settings.faster * rate(), parts_.now()))
      suspicion_.needs_root = true;
    if (suspicion_.needs_root) suspicion_.needs_root = brings_little(id, root);
  }

  // Since it was probed before: on a full way to upstream one stream after the other gets its share, and the
  // root that was slow until now may be the fastest of all.
  bool brings_little(const std::string& id, const ProbeAnswer& root) {
    const auto now = parts_.now();
    const auto& watch = parts_.settings.watch;
    auto& seen = stream_.watch.root;
    if (seen.id == id && now - seen.at < watch / 2) return false;
    const auto before = std::exchange(seen, {id, root.have, now});
    if (before.id != id || now - before.at > 3 * watch) {
      stream_.watch.next_suspect = now + watch / 2;
      return false;
    }
    const std::chrono::duration<double> passed = now - before.at;
    const auto more = static_cast<double>(root.have - std::min(root.have, before.have));
    return more / passed.count() * parts_.settings.faster < suspicion_.expected;
  }

  // Calls out: the stream, and with it this, may be gone afterwards.
  void leave(std::string_view why) {
    parts_.metrics.left_members.add();
    LogLine(LogLevel::debug, "member_left")
        .field("member", stream_.member())
        .field("digest", stream_.unit().blob.digest.str())
        .field("unit", std::uint64_t{stream_.unit().unit})
        .field("why", why);
    stream_.leave({Errc::canceled, "member " + stream_.member() + " is left: " + std::string(why), 0, 0,
                   "member_left"});
  }
  void leave_for(const std::string& id) {
    const auto share = stream_.share();
    if (!share || share->is_closed()) return;
    auto& part = share->part(stream_.unit().unit);
    part.prefer = id;
    part.left = stream_.member();
    leave("another gives the unit faster");
  }

  void on_source(Result<ProbeAnswer> how) {
    if (!how) {
      // On a full link a probe comes too late, and the bytes come all the same.
      const bool is_silent = parts_.now() - stream_.last_byte() >= parts_.settings.watch;
      if (means_dead(how.error()) && is_silent) leave("it does not answer any more");
      return;
    }
    if (contains(how->path, parts_.self())) return leave("it is fed by this node itself");
    how->path.resize(std::min(how->path.size(), kMostIds));
    stream_.set_path(how->path);
    source_ = *std::move(how);
    // It has all of it and is slow by itself: others may have it, too.
    if (source_.complete) return ask({stream_.member()});
    if (source_.path.empty()) {
      judge_root(stream_.member(), source_);
      return suspicion_.needs_root ? ask({stream_.member()}) : void();
    }
    pending_ = parts_.wire.probe(parts_.member(source_.path.back()), Probe{stream_.unit()},
                                 [this](const Result<ProbeAnswer>& root) { on_root(root); });
  }

  bool is_ahead(const ProbeAnswer& how) const { return how.complete || how.have > here() + kAhead; }

  // The first of those who feed us. Is it slow, or somebody in between?
  void on_root(const Result<ProbeAnswer>& root) {
    if (!root) return suspicion_.needs_root ? ask({source_.path.back()}) : void();
    // It need not be the first any more.
    if (contains(root->path, parts_.self())) return leave("it is fed by this node itself");
    const auto id = source_.path.back();
    if (is_ahead(*root)) {
      if (root->complete && is_faster(*root) && parts_.is_source(id) && !is_far(id)) return leave_for(id);
      if (!suspicion_.needs_root && !suspicion_.is_slow) return;
      suspicion_.needs_root = false;
      pending_ = probe_all(parts_.loop, parts_.wire, stream_.unit(), parts_.members(source_.path),
                           parts_.settings.probe_wait,
                           [this](Result<std::vector<Candidate>> chain) { on_chain(*std::move(chain)); });
      return;
    }
    judge_root(id, *root);
    // Where the root itself is slow, those between are as fast as it lets them be, and one of them may have
    // become its stand-in a moment ago: ours, then, as well.
    if (suspicion_.needs_root) ask({id});
  }

  // Somebody on the way has far more than we have: slow are those between it and us.
  void on_chain(const std::vector<Candidate>& chain) {
    const auto find = [&chain](const std::string& id) {
      const auto at =
          std::find_if(chain.begin(), chain.end(), [&id](const auto& one) { return one.id == id; });
      return at == chain.end() ? nullptr : &at->how;
    };
    const auto ahead = std::find_if(source_.path.begin(), source_.path.end(), [&](const std::string& id) {
      const auto* how = find(id);
      return how != nullptr && is_ahead(*how);
    });
    if (ahead == source_.path.end()) return;
    is_ahead_ = true;
    std::vector<std::string> slow{stream_.member()};
    slow.insert(slow.end(), source_.path.begin(), ahead);
    if (!is_far(*ahead)) return ask(std::move(slow));
    // The last of our zone on the way there: is it slow, or the link between the zones?
    const auto far =
        std::find_if(slow.begin(), slow.end(), [this](const auto& one) { return !is_near(one); });
    const auto head = far == slow.begin() ? far : far - 1;
    const auto* how = *head == stream_.member() ? &source_ : find(*head);
    head_is_slow_ = how != nullptr && is_slow_node(*how);
    if (head_is_slow_) ask({*head});
  }

  void ask(std::vector<std::string> slow) {
    const auto share = stream_.share();
    if (!share || share->is_closed()) return;
    slow_ = std::move(slow);
    Ask ask;
    ask.unit = stream_.unit();
    ask.have = here();
    ask.rights = share->rights();
    ask.avoid = slow_;
    for (const auto& id : share->part(ask.unit.unit).avoid)
      if (ask.avoid.size() < kMostIds && !contains(ask.avoid, id)) ask.avoid.push_back(id);
    pending_ = ask_coordinator(parts_, std::move(ask), [this](Result<Directed> directed) {
      if (directed) on_answer(*std::move(directed));
    });
  }

  void on_answer(Directed directed) {
    const auto share = stream_.share();
    if (!share || share->is_closed()) return;
    const auto unit = stream_.unit().unit;
    share->part(unit).coordinator = directed.coordinator;
    if (directed.answer.kind == AskAnswer::Kind::fetch) return on_lease(directed.coordinator);
    if (directed.answer.kind != AskAnswer::Kind::from) return;
    auto ids = directed.answer.sources;
    std::erase_if(ids,
                  [this](const std::string& id) { return !parts_.is_source(id) || contains(slow_, id); });
    // We are in the stand-in's tree already.
    if (suspicion_.needs_root && contains(ids, stream_.member())) return;
    pending_ =
        probe_all(parts_.loop, parts_.wire, stream_.unit(), parts_.members(ids), parts_.settings.probe_wait,
                  [this](Result<std::vector<Candidate>> answered) { on_candidates(*std::move(answered)); });
  }

  void on_lease(const std::string& coordinator) {
    const auto share = stream_.share();
    auto& part = share->part(stream_.unit().unit);
    if (suspicion_.needs_root) {
      part.has_complained = true;
      share->set_leased(part, true);
      part.left = stream_.member();
      part.told = parts_.now();
      // From now on two would bring it: who was too slow takes it from us.
      const std::string root = source_.path.empty() ? stream_.member() : source_.path.back();
      if (contains(slow_, root)) parts_.teller.taken(root, {stream_.unit()});
      return leave("upstream is faster");
    }
    if (part.is_leased) {  // it was ours already
      part.told = parts_.now();
      return;
    }
    // Not worth it: given back, and on as before.
    parts_.teller.gave_up(coordinator, {stream_.unit(), false});
    parts_.teller.alive(coordinator, {stream_.unit(), here()});
  }

  void on_candidates(std::vector<Candidate> answered) {
    std::erase_if(answered, [this](const Candidate& one) {
      const auto& path = one.how.path;
      const bool is_same = std::any_of(path.begin(), path.end(), [this](const std::string& id) {
        return id == parts_.self() || contains(slow_, id);
      });
      return is_same || !one.how.has_slot || (!suspicion_.needs_root && is_far(one.id));
    });
    std::stable_sort(answered.begin(), answered.end(), [](const Candidate& a, const Candidate& b) {
      if (a.how.complete != b.how.complete) return a.how.complete;
      return a.how.complete ? a.how.rate > b.how.rate : a.how.have > b.how.have;
    });
    if (answered.empty()) return;
    const auto& best = answered.front();
    const bool has_more = best.how.complete || best.how.have > here() + kAhead;
    const bool is_worth_it =
        suspicion_.needs_root || (is_ahead_ && has_more) || (best.how.complete && is_faster(best.how));
    if (!is_worth_it) return;
    const auto share = stream_.share();
    if (share && suspicion_.needs_root && !best.how.complete)
      share->part(stream_.unit().unit).has_complained = true;
    leave_for(std::string(best.id));
  }

  SiteParts& parts_;
  UnitStream& stream_;
  Suspicion suspicion_;
  ProbeAnswer source_;
  bool is_ahead_ = false;  // the root has clearly more than we have
  bool head_is_slow_ = false;
  std::vector<std::string> slow_;
  Ticket pending_;
};

}  // namespace

std::shared_ptr<void> start_review(SiteParts& parts, UnitStream& stream, Suspicion suspicion) {
  auto review = std::make_shared<Review>(parts, stream, suspicion);
  review->begin();
  return review;
}

}  // namespace layerd::peers
