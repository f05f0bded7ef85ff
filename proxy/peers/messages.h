// What members say to each other (docs/peers.md "Messages"). Plain values, and the two pure functions of
// each: to the text that travels and back. Reading is bounded and refuses what does not fit: members are
// authenticated, and hostile all the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/digest.h"
#include "runtime/result.h"

namespace layerd::peers {

// The protocol of this file. Another version is refused politely (426) and the ladder goes on.
inline constexpr unsigned kVersion = 1;
// A blob is shared by units of so many bytes; the last one is shorter. A blob whose upstream ignores Range is
// one unit: number 0 of a `whole` blob.
inline constexpr ByteCount kUnit = 8_MiB;
inline constexpr std::uint32_t unit_of(ByteCount offset) {
  return static_cast<std::uint32_t>(offset / kUnit);
}

// How upstream serves a repository (cache::RepositoryClass without the cache). Travels with every answer.
enum class Rights : std::uint8_t { unknown = 0, open = 1, node = 2, client = 3 };

struct BlobName {  // resolved names: the key of links and rights
  std::string registry, repository;
  Digest digest;
  std::string key() const { return registry + "/" + repository; }
};

struct UnitName {
  BlobName blob;
  std::uint32_t unit = 0;
  bool whole = false;
};

// "I want this unit. Who has it?" To the unit's coordinator.
struct Ask {
  UnitName unit;
  ByteCount have = 0;  // bytes of the unit from its beginning that are here already
  unsigned load = 0;   // uploads that run at the asker
  std::string zone;    // of the asker
  Rights rights = Rights::unknown;
  std::vector<std::string> avoid;  // members that failed the asker for this unit
  std::vector<std::string> dead;   // better coordinators that were tried and are dead: do not send us there
  unsigned hops = 0;               // redirects followed so far
  bool needs_claim = false;        // a source is of use only where the unit's hash is known
  // Who gave wrong bytes of it, and who fed those: which of them said to have the right ones?
  std::vector<std::string> about{};
};

struct AskAnswer {
  enum class Kind : std::uint8_t {
    fetch,     // a lease: fetch it upstream, others will be sent to you
    from,      // these have it, or are receiving it
    redirect,  // that member coordinates this unit, not I
    busy,      // ask again after `wait`
  };
  Kind kind = Kind::busy;
  Duration lease{};                  // fetch: how long it lives without progress
  std::vector<std::string> sources;  // from: at most 4 ids, the best first; they need not be in our list
  std::string member;                // redirect
  Duration wait{};                   // busy
  bool whole = false;                // upstream ignores Range for this blob: ask for it whole
  std::optional<Digest> claim;       // sha256 of the unit, by who fetched it upstream
  bool is_proved = false;            // the claim comes of a blob that was verified whole
  std::string claimed_by{};          // who fetched it; empty: nobody, or it is proved
  std::vector<std::string> agree{};  // those of the ask's `about` whose own hash of the unit is the claim
};

// "How are you?" To a candidate, before a stream is begun.
struct Probe {
  UnitName unit;
};
struct ProbeAnswer {
  unsigned load = 0;              // uploads that run
  bool has_slot = false;          // it would serve this unit now
  ByteCount have = 0;             // bytes of the unit from its beginning
  bool complete = false;          // all of the unit
  std::vector<std::string> path;  // where it gets the unit from: ids, the nearest first
  ByteCount rate = 0;  // bytes per second that one more stream would get, as far as it knows; 0: it does not
};

// What needs no answer. To the unit's coordinator, the keepers of the blob's records, or who fetches the
// unit.
struct Tell {
  struct Done {  // the unit is here, with this hash; an upstream fetch ends its lease by it
    UnitName unit;
    Digest sha256;
    bool from_upstream = false;
  };
  struct Alive {  // a lease or a transfer goes on: so many bytes of the unit are here
    UnitName unit;
    ByteCount have = 0;
  };
  struct GaveUp {  // the lease is given back
    UnitName unit;
    bool whole_only = false;  // upstream ignores Range
  };
  struct Taken {  // the one told fetches it upstream, too slowly; we do now, from the byte where we stood
    UnitName unit;
  };
  struct Have {  // complete and verified blobs of ours; `gone` are no longer here
    std::vector<Digest> blobs, gone;
    bool is_all = false;  // the list replaces what was told before
  };
  std::vector<Done> done;
  std::vector<Alive> alive;
  std::vector<GaveUp> gave_up;
  std::vector<Taken> taken;
  std::optional<Have> have;
  bool empty() const { return done.empty() && alive.empty() && gave_up.empty() && taken.empty() && !have; }
};

// "Who has this whole blob?" To the holders of its records.
struct Who {
  BlobName blob;
};
struct WhoAnswer {
  std::vector<std::string> holders;  // ids, at most 8
  std::optional<ByteCount> total;
  std::vector<Digest> units;  // sha256 of each unit, of a verified blob; may be empty
};

// "What do you know of this tag, or of this digest in this repository?" Only while upstream cannot be asked.
struct Recall {
  std::string registry, repository;
  std::string reference;  // a tag or a digest
};
struct RecallAnswer {
  bool known = false;
  Digest digest;
  std::string media_type;
  ByteCount size = 0;           // of what is known never zero
  std::int64_t checked_at = 0;  // unix seconds of the last answer of upstream; 0: imported
  Rights rights = Rights::unknown;
};

// JSON, one object. parse_*: Errors: upstream_protocol, naming the field. At most kMostMessage bytes are
// read.
inline constexpr std::size_t kMostMessage = 64 * 1024;
std::string text_of(const Ask& message);
std::string text_of(const AskAnswer& message);
std::string text_of(const Probe& message);
std::string text_of(const ProbeAnswer& message);
std::string text_of(const Tell& message);
std::string text_of(const Who& message);
std::string text_of(const WhoAnswer& message);
std::string text_of(const Recall& message);
std::string text_of(const RecallAnswer& message);
Result<Ask> parse_ask(std::string_view text);
Result<AskAnswer> parse_ask_answer(std::string_view text);
Result<Probe> parse_probe(std::string_view text);
Result<ProbeAnswer> parse_probe_answer(std::string_view text);
Result<Tell> parse_tell(std::string_view text);
Result<Who> parse_who(std::string_view text);
Result<WhoAnswer> parse_who_answer(std::string_view text);
Result<Recall> parse_recall(std::string_view text);
Result<RecallAnswer> parse_recall_answer(std::string_view text);

}  // namespace layerd::peers
