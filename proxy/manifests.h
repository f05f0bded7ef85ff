// Manifests: fetched once for all who ask, checked, kept by digest together with what they link.
//
// Bytes lie in the BlobStore, media types and links in the Catalog. Nothing is fetched that no client
// asked for: the children of an index are linked, not pulled. Loop thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "proxy/confirmations.h"
#include "proxy/mirror_settings.h"
#include "proxy/waiters.h"
#include "proxy/whole_body.h"

namespace layerd::proxy {

struct Manifest {
  Digest digest;                // by the algorithm that was asked for
  std::string media_type;       // never empty
  SmallBody body;               // the exact bytes of upstream
  std::string member = {};      // who vouches for it where upstream could not be asked; else empty
  std::int64_t checked_at = 0;  // with `member`: when upstream last said so there
};
using ManifestPtr = std::shared_ptr<const Manifest>;

class Manifests {
 public:
  Manifests(const MirrorParts& parts, SmallBodyBudget& small_bodies, Confirmations& confirmations);
  ~Manifests();

  // What is known of a manifest whose bytes are in the store as well. No disk access.
  std::optional<cache::ManifestRecord> here(const Digest& digest) const;

  // The bytes of one that is here. Errors: not_found (evicted or set aside meanwhile), local_io.
  Ticket load(const Digest& digest, Done<ManifestPtr> done);

  // Gets it from upstream, compares the digest, keeps bytes, media type and links. By tag: expected
  // is empty and upstream's Docker-Content-Digest decides the algorithm. What the disk refuses is
  // answered all the same, not kept. Errors: as Fetcher::fetch; digest_mismatch; upstream_protocol
  // (no manifest, too large). Dropping the Ticket leaves; the fetch goes on and fills the cache.
  Ticket fetch(const registry::TargetPtr& target, const std::string& reference,
               std::optional<Digest> expected, Done<ManifestPtr> done);
  // Is such a fetch running?
  bool fetching(const registry::TargetPtr& target, const std::string& reference) const;

  // For a repository that does not link a manifest that is here: one HEAD upstream, then the links of
  // the kept bytes are recorded for it. Errors: as Fetcher::fetch, as load().
  Ticket adopt(const registry::TargetPtr& target, const Digest& digest, Done<Ok> done);

 private:
  class Fetch;
  class Adoption;
  void ended(const std::string& name, Result<ManifestPtr> result);

  MirrorParts parts_;
  Links links_;
  SmallBodyBudget& small_bodies_;
  Confirmations& confirmations_;
  std::map<std::string, std::unique_ptr<Fetch>> fetches_;
};

}  // namespace layerd::proxy
