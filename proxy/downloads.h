// Downloads: digest -> the one running Download of this node; join it or start it.
// docs/architecture.md "A download" tells the states; docs/decisions/0004 the rules for leaving.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "cache/source.h"
#include "proxy/registry/endpoint.h"
#include "proxy/upstream/fetcher.h"
#include "runtime/digest.h"
#include "runtime/loop.h"

namespace layerd::proxy {

struct DownloadStatus {  // for `layerd status`
  Digest digest;
  std::string repository;  // the key of the first asker
  std::string state;       // connecting, receiving, verifying, committing, passing_through
  std::optional<ByteCount> size;
  ByteCount present = 0;
  std::size_t followers = 0;
  std::size_t segments = 0;                       // requests running now
  ByteCount from_members = 0, from_upstream = 0;  // bytes that came since it began
  std::string endpoint;                           // the last that gave bytes
  double bytes_per_second = 0;
  double age_seconds = 0;
};

// A follower's hold on a download: a Source whose life keeps the download going.
struct Joined {
  cache::SourcePtr source;
  bool started = false;  // false: joined one that was running (Layerd-Source: join)
  // After size() has answered: did an endpoint of the target given to join() confirm the blob, and not
  // one that another joiner brought? Empty: not known; the asker's rights are then confirmed by a HEAD.
  std::function<bool()> confirmed_by_target;
  // The same moment: was it a member of the site that had it, and no upstream? Empty: not known.
  std::function<bool()> came_from_member = {};
  // Have other repositories' askers brought endpoints too? Then an error may be what theirs said, which is
  // not for this one to know. Empty: nobody has.
  std::function<bool()> has_others = {};
};

class Downloads {
 public:
  virtual ~Downloads() = default;
  // Is there one to join?
  virtual bool runs(const Digest& digest) const = 0;
  // Does one run that has bytes which another repository's asker, or a former download, brought?
  virtual bool runs_for_others(const Digest& digest, const std::string& repository) const = 0;
  // Would a download for this repository that begins now ask members of the site?
  virtual bool asks_members(const registry::Target& target) const = 0;
  // Follows the running download of `digest`, to which the endpoints of `target` are added, or starts one
  // from them. Only who has the right to the digest may join what runs: what he brings is used for all who
  // follow. Who starts one finds out by the answer (confirmed_by_target). `size_hint` is a
  // manifest's word, never a reason to answer a client (design.md §3.7). `has_right`: the digest is known to
  // belong to the target's repository; else no member of the site hears of what is begun. Dropping the source
  // leaves.
  virtual Joined join(const Digest& digest, registry::TargetPtr target, std::optional<ByteCount> size_hint,
                      bool has_right) = 0;
  virtual std::vector<DownloadStatus> status() const = 0;
  virtual std::size_t running() const = 0;
  // No new ones; running ones are let go when the object is destroyed, their progress recorded.
  virtual void drain() = 0;
};

}  // namespace layerd::proxy
