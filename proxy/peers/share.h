// Share: one running download's part in the site (BlobShare). ShareCore holds what is known of the blob and
// of each unit that is wanted; searches, streams and the watchdog keep it alive as long as they need it. Loop
// thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proxy/peers/sharing.h"
#include "proxy/peers/site_parts.h"

namespace layerd::peers {

// What is known of a unit from the first find() until it has arrived.
struct UnitPart {
  std::string coordinator;         // who answered our last ask; empty: nobody did, or it was told the end
  bool is_leased = false;          // we fetch it for the site
  bool is_sought = false;          // a source of it is looked for
  Turn turn;                       // we fetch it without a lease
  TimePoint told{};                // when the coordinator heard of it last
  ByteCount have = 0;              // bytes from the unit's beginning
  TimePoint began{};               // the present source
  ByteCount began_at = 0;          // bytes that were here then
  std::vector<std::string> avoid;  // members that failed us
  std::optional<Digest> claim;
  unsigned refusals = 0;            // how often what members gave was thrown away
  std::vector<std::string> wrong;   // the chain of what was thrown away
  std::vector<std::string> givers;  // of its bytes
  std::vector<std::string> chain;   // they, and who fed them
  ByteCount sought_from = 0;        // where the last find() began ...
  unsigned in_vain = 0;             // ... and how many before it brought nothing
  bool has_complained = false;      // of everybody who brings it: once for each unit
  bool was_taken = false;           // by one to whom we were too slow: once for each unit
  TimePoint rejoined{};             // when it was last asked whether others bring it as well ...
  Ticket rejoining;                 // ... which is being done
  std::string taker;                // who takes it over, if the download lets go of it
  std::string prefer;               // the choice for the next find(): the watchdog's, or who took it
  std::string left;                 // the member that was left last for a faster one: not avoided for longer
  std::string source;               // the member that brings it; empty: upstream, or nobody yet
  std::weak_ptr<UnitStream> stream;
};

class ShareCore : public std::enable_shared_from_this<ShareCore> {
 public:
  ShareCore(SiteParts& parts, BlobName blob, Rights rights);
  ~ShareCore();

  UnitName name(std::uint32_t unit) const { return {blob_, unit, is_whole_}; }
  UnitPart& part(std::uint32_t unit) { return units_[unit]; }
  UnitPart* find_part(std::uint32_t unit);
  SiteParts& parts() { return parts_; }
  const BlobName& blob() const { return blob_; }
  Rights rights() const { return rights_; }
  std::optional<ByteCount> total() const { return total_; }
  bool is_whole() const { return is_whole_; }
  bool is_closed() const { return is_closed_; }
  const std::map<std::uint32_t, UnitPart>& units() const { return units_; }

  // Who holds the whole blob, by its records. Asked once; every search waits for the same answer.
  Ticket learn_holders(Done<Ok> done);
  const std::vector<std::string>& holders() const { return holders_; }
  // Members that gave units of this blob, the most recent first; for when nobody coordinates.
  std::vector<std::string> neighbours() const;

  void when_wanted(Callback<void(std::uint32_t unit)> wanted) { wanted_ = std::move(wanted); }
  // Has the download bring it, for another member. False: it does not do that, or does so often enough.
  bool want(const UnitName& unit);
  void when_taken(Callback<void(std::uint32_t unit)> taken) { taken_ = std::move(taken); }
  // That member fetches the rest now, and we do not have to.
  void taken(const UnitName& unit, const std::string& by);
  // Our request for what we fetch upstream shall be dropped, and the rest taken from that member.
  void yield(std::uint32_t unit, UnitPart& part, const std::string& to);
  void handed_over(std::uint32_t unit);
  // Do we fetch it upstream?
  static bool is_ours(const UnitPart& part) {
    return part.source.empty() && part.began != TimePoint{} && !part.is_sought;
  }
  bool is_wanted(std::uint32_t unit) const { return wanted_units_.count(unit) != 0; }

  // A stream from a member begins.
  void begins(std::uint32_t unit, const std::shared_ptr<UnitStream>& stream);
  void set_leased(UnitPart& part, bool is_leased);
  // Who asks us for the unit meanwhile waits for what comes of it.
  void seeks(std::uint32_t unit) { part(unit).is_sought = true; }
  // Whom the coordinator shall not name.
  std::vector<std::string> avoided(std::uint32_t unit);
  void avoid(std::uint32_t unit, const std::string& member);
  // Is a stream from this member, fed by `path`, one that leads to wrong bytes as far as is known?
  bool is_tainted(std::uint32_t unit, const std::string& member, const std::vector<std::string>& path);
  // Is it known what the unit must be?
  bool is_claimed(std::uint32_t unit) { return expected(unit, part(unit)).has_value(); }
  // Members spoiled an attempt at this blob: from now on they bring only what can be compared at once.
  bool is_careful() const { return parts_.suspects.count(blob_.digest) != 0; }
  // Members spoiled the blob, nobody was found to blame, and this unit came along a chain with that member.
  bool is_suspect(std::uint32_t unit, const std::string& member) const;
  // The next source is our own upstream request.
  void begins_upstream(std::uint32_t unit);
  // The coordinator is told that nothing is to be expected of us.
  void give_up(std::uint32_t unit, bool whole_only = false);

  // BlobShare, but find().
  void progress(std::uint32_t unit, ByteCount have);
  void failed(std::uint32_t unit, const Error& why);
  void dropped(std::uint32_t unit);
  bool arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream);
  void whole_only();
  void turn_whole();
  void sized(std::optional<ByteCount> total) { total_ = total; }
  void verified(const std::vector<Digest>& units);
  void mismatched();
  void close();

 private:
  void ask_who(std::size_t rank);
  void on_who(std::size_t rank, const WhoAnswer& answer);
  void holders_known();
  void ask_proofs();
  std::optional<Digest> expected(std::uint32_t unit, const UnitPart& part) const;
  bool refuse(std::uint32_t unit, UnitPart& part, const Digest& sha256);
  void note_chain(UnitPart& part) const;
  void rejoin(std::uint32_t unit, UnitPart& part);
  void settled(std::uint32_t unit, UnitPart& part);
  void settle_single(const std::vector<Digest>& units);
  ByteCount begin_of(std::uint32_t unit) const { return is_whole_ ? 0 : unit * kUnit; }

  enum class Who : std::uint8_t { unasked, asking, known };

  SiteParts& parts_;
  const BlobName blob_;
  const Rights rights_;
  std::optional<ByteCount> total_;
  bool is_whole_ = false;
  bool is_closed_ = false;
  std::map<std::uint32_t, UnitPart> units_;
  std::vector<Received> received_;
  std::vector<Received> refused_;
  std::vector<Digest> proofs_;  // by a member that holds the blob
  std::string prover_;          // that member
  Who who_ = Who::unasked;
  std::size_t keepers_heard_ = 0;          // that named nobody
  std::size_t keepers_wanted_ = kKeepers;  // to be heard before nobody is said to hold it
  std::vector<std::string> holders_;
  std::vector<std::shared_ptr<Pending<Ok>>> waiting_;
  Callback<void(std::uint32_t unit)> wanted_;
  std::set<std::uint32_t> wanted_units_;  // not here yet
  Callback<void(std::uint32_t unit)> taken_;
  Ticket who_asked_;
  Ticket proofs_asked_;
};

// A blob that was wrong is here rightly: of those who were suspected, who gave what is in `units` is free
// again.
void acquit(SiteParts& parts, const std::vector<Received>& suspects, const std::vector<Digest>& units);

class Share final : public BlobShare {
 public:
  explicit Share(std::shared_ptr<ShareCore> core) : core_(std::move(core)) {}
  ~Share() override { core_->close(); }
  Ticket find(std::uint32_t unit, ByteRange rest, Done<UnitSource> done) override;
  void progress(std::uint32_t unit, ByteCount have) override { core_->progress(unit, have); }
  void failed(std::uint32_t unit, const Error& why) override { core_->failed(unit, why); }
  void dropped(std::uint32_t unit) override { core_->dropped(unit); }
  bool arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) override {
    return core_->arrived(unit, sha256, from_upstream);
  }
  void when_wanted(Callback<void(std::uint32_t unit)> wanted) override {
    core_->when_wanted(std::move(wanted));
  }
  void handed_over(std::uint32_t unit) override { core_->handed_over(unit); }
  void when_taken(Callback<void(std::uint32_t unit)> taken) override { core_->when_taken(std::move(taken)); }
  void whole_only() override { core_->whole_only(); }
  bool is_whole() const override { return core_->is_whole(); }
  void sized(std::optional<ByteCount> total) override { core_->sized(total); }
  void verified(const std::vector<Digest>& units) override { core_->verified(units); }
  void mismatched() override { core_->mismatched(); }

 private:
  std::shared_ptr<ShareCore> core_;
};

}  // namespace layerd::peers
