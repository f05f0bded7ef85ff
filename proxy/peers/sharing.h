// Sharing: what a running download asks of the site, and Shelf: what the site asks of this node's store and
// downloads. The ladder of docs/peers.md stands behind BlobShare::find(): who brings the next bytes of a
// unit, a member or our own upstream request. The download keeps all it knows of upstreams (places, retries,
// bans); the share keeps all there is to know of members. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/source.h"
#include "proxy/http/client.h"
#include "proxy/peers/messages.h"
#include "runtime/digest.h"
#include "runtime/ticket.h"

namespace layerd::peers {

// Who brings the rest of a unit.
struct UnitSource {
  enum class From : std::uint8_t {
    member,    // `body` brings `range`
    upstream,  // fetch it yourself: by a lease, or because nobody coordinates and it is our turn
  };
  From from = From::upstream;
  std::string member;  // id
  ByteCount total = 0;
  ByteRange range;
  std::unique_ptr<http::BodyReader>
      body;  // ends early with an error when the member is left for a faster one
  bool is_leased = false;
};

// One running download's part in the site. The download owns it; destroying it gives leases back and says to
// the site that what it began here ends.
class BlobShare {
 public:
  virtual ~BlobShare() = default;

  // Who brings [rest) of `unit`? rest.end may be behind the unit's end only for a whole blob. Always answers
  // in the end (upstream when members are of no use), unless the Ticket is dropped; waits while too many
  // fetches without a lease run on this node. Errors: canceled, with the diagnosis "whole_blob": it turned
  // out that upstream ignores Range; is_whole() is true from now on and unit 0 is what is asked for.
  virtual Ticket find(std::uint32_t unit, ByteRange rest, Done<UnitSource> done) = 0;

  // What came of it. have: bytes of the unit from its beginning that are on disk; tells the lease on.
  virtual void progress(std::uint32_t unit, ByteCount have) = 0;
  // The body broke off, or upstream failed: that member, or that lease, is not tried again at once.
  virtual void failed(std::uint32_t unit, const Error& why) = 0;
  // Nobody here wants the unit any more, or upstream answered it in another way.
  virtual void dropped(std::uint32_t unit) = 0;
  // All of it is on disk. False: it is not what who fetched it upstream, or a verified copy, says it is: it
  // must be thrown away and asked for again; who gave it is avoided.
  virtual bool arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) = 0;

  // Called, on a later stack, when another member asks for a unit of which this node keeps the book, and
  // nobody brings it yet: the download find()s it now, before its turn, and the other takes it from here. So
  // the way to upstream is shared out among those who pull, and not left to who is ahead. A download that
  // sets nothing here is never asked; one that does find()s the unit in the same call, if it is not here or
  // on its way.
  virtual void when_wanted(Callback<void(std::uint32_t unit)> wanted) { static_cast<void>(wanted); }

  // Called, on a later stack, when another member fetches a unit that this node fetches upstream as well, or
  // too slowly for the site: the download drops its upstream request, says so by handed_over(), and find()s
  // the rest, which that member brings. A download that sets nothing here, or cannot do it now, goes on
  // beside it.
  virtual void when_taken(Callback<void(std::uint32_t unit)> taken) { static_cast<void>(taken); }
  virtual void handed_over(std::uint32_t unit) { static_cast<void>(unit); }

  // Upstream ignores Range: from now on there is one unit, number 0.
  virtual void whole_only() = 0;
  virtual bool is_whole() const = 0;
  // The size is confirmed by a source; nothing: what was said of it was wrong, and counts no more.
  virtual void sized(std::optional<ByteCount> total) = 0;
  // The blob's digest was right: the hashes of its units are proved. Or wrong: every claim on it is dropped,
  // who gave more than a unit of it is avoided, and the next attempt asks upstream alone.
  virtual void verified(const std::vector<Digest>& units) = 0;
  virtual void mismatched() = 0;
};

class Sharing {
 public:
  virtual ~Sharing() = default;
  // Would begin() of a blob of this repository give something now?
  virtual bool shares(const std::string& registry, const std::string& repository) const = 0;
  // Null: this blob is not shared (rule `none`, no other member alive), the download goes on by itself.
  virtual std::unique_ptr<BlobShare> begin(const BlobName& blob, Rights rights) = 0;
  // A complete blob came into the store or left it, by whatever way.
  virtual void stored(const Digest& digest) = 0;
  virtual void removed(const Digest& digest) = 0;
};

// What this node has, as far as a member may know. Implemented over the store, the catalog and the downloads.
class Shelf {
 public:
  virtual ~Shelf() = default;
  struct Held {
    bool complete = false;           // a verified blob in the store
    bool running = false;            // a download of it runs
    std::optional<ByteCount> total;  // confirmed
    ByteCount have = 0;              // bytes of `range` from its beginning
  };
  // Nothing: not here, or not linked to this repository (design.md §3.5).
  virtual std::optional<Held> held(const BlobName& blob, ByteRange range) = 0;
  virtual Rights rights(const std::string& registry, const std::string& repository) = 0;
  // A reader for a member. Of a running download it waits for bytes that are on their way, and does not keep
  // the download going. Errors: not_found.
  virtual Ticket open(const BlobName& blob, Done<cache::SourcePtr> done) = 0;
  // sha256 of each unit of a verified blob; empty where unknown.
  virtual std::vector<Digest> units(const Digest& digest) = 0;
  virtual RecallAnswer recall(const Recall& recall) = 0;
  // Complete blobs, in order of digests from behind `after` on.
  virtual std::vector<Digest> list(std::optional<Digest> after, std::size_t most) = 0;
};

}  // namespace layerd::peers
