// Site: this node among the others. What downloads ask of the site (Sharing), what members ask of this node
// (Desk), and what people ask about both (snapshot). docs/peers.md describes the protocol. Loop thread; it
// outlives every share, body and upload it gave out but for uploads, and calls nobody back after its end.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "proxy/peers/sharing.h"
#include "proxy/peers/site_settings.h"
#include "proxy/peers/uploads.h"
#include "proxy/peers/wire.h"
#include "runtime/loop.h"

namespace layerd::peers {

// How it stands, for `layerd peers` and `layerd status`.
struct SiteSnapshot {
  struct MemberRow {
    std::string id, zone, name;
    bool is_listed = false;
    bool is_self = false;
    bool is_dead = false;
    bool refuses = false;      // it failed last because one of the two does not admit the other
    bool failed_last = false;  // as is_dead, and until it answers again
    Duration dead_for{};       // it is left alone for so long yet
    Duration banned_for{};     // nothing is taken from it for so long yet
    std::optional<Duration> latency;
    ByteCount bytes_in = 0, bytes_out = 0;
    std::uint64_t faults = 0, wrong_units = 0;
    std::string last_fault;
  };
  struct UnitRow {
    std::uint32_t unit = 0;
    std::string from;  // a member's id; "upstream"; empty: still looked for
    bool is_leased = false;
    ByteCount have = 0;
  };
  struct BlobRow {
    BlobName blob;
    bool is_whole = false;
    std::vector<UnitRow> units;
  };
  std::vector<MemberRow> members;
  std::vector<BlobRow> blobs;
  std::size_t units_coordinated = 0, leases = 0, records = 0;
  unsigned uploads = 0;
};

struct Recalled {
  std::string member;
  RecallAnswer answer;  // known
};

struct SiteParts;
class Watchdog;
class Announcer;
class Feeler;

class Site final : public Sharing, public Desk {
 public:
  // may_share: the `share` rules. seed: of all that is drawn at random.
  Site(Loop& loop, Wire& wire, Shelf& shelf, Metrics& metrics, SiteSettings settings, SharePolicy may_share,
       std::uint64_t seed = std::random_device{}());
  ~Site() override;

  // From now on. May be called at any time, while downloads run.
  void set_members(MemberListPtr members);
  // Other secrets or certificates count now.
  void trust_changed();

  bool shares(const std::string& registry, const std::string& repository) const override;
  std::unique_ptr<BlobShare> begin(const BlobName& blob, Rights rights) override;
  void stored(const Digest& digest) override;
  void removed(const Digest& digest) override;
  // What members know of a tag or of a digest in a repository. Asks up to 64 of them, those of our zone
  // first; answers who knew something within about 1.5 s. Never an error. Nobody is asked about a repository
  // that is not shared.
  Ticket recall(const Recall& recall, Done<std::vector<Recalled>> done);
  // All of a small blob that a member knows. Errors: as Wire::get; denied: the repository is not shared;
  // upstream_unreachable: the member is dead or avoided.
  Ticket get(const std::string& member, const BlobName& blob, ByteCount size, Done<UnitAnswer> done);
  // It said something wrong and nothing is taken from it for as long as from who sent wrong bytes.
  void avoid(const std::string& member, std::string_view why);

  AskAnswer on_ask(const std::string& from, const Ask& ask) override;
  bool may_ask(const std::string& from) override;
  ProbeAnswer on_probe(const std::string& from, const Probe& probe) override;
  WhoAnswer on_who(const std::string& from, const Who& who) override;
  RecallAnswer on_recall(const std::string& from, const Recall& recall) override;
  void on_tell(const std::string& from, const Tell& tell) override;
  Ticket on_get(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done) override;

  SiteSnapshot snapshot() const;
  // People are about to look at the members. How many of them are being asked how they are.
  std::size_t look();

 private:
  void sweep();
  void spoke(const std::string& member);

  std::unique_ptr<SiteParts> parts_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Announcer> announcer_;
  std::unique_ptr<Feeler> feeler_;
  Ticket sweep_;
};

}  // namespace layerd::peers
