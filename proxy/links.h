// Links: which digests belong to which repository (design.md §3.5), and how far a member's word about it
// goes. Over the catalog, the store and the downloads; keeps nothing itself. Loop thread.
//
// A manifest that only a member brought links what it lists as `told`. Such a link, as any other word of a
// member, opens what is not here yet, and what is here and open by its own; what came by somebody else's
// right it does not open, whenever it came. What is open by its own is kept beside the links of repositories,
// under names that are no repository's.
#pragma once

#include <optional>
#include <vector>

#include "cache/blob_store.h"
#include "cache/catalog.h"
#include "proxy/downloads.h"
#include "proxy/registry/endpoint.h"

namespace layerd::proxy {

class Links {
 public:
  using Who = registry::AskAs::Who;

  // All of it outlives this.
  Links(cache::Catalog& catalog, const cache::BlobStore& store, const Downloads& downloads)
      : catalog_(catalog), store_(store), downloads_(downloads) {}

  // Why who asks as `who` may have the digest under this repository; nothing: no reason is known. A member of
  // the site asks as Who::nobody: what a registry gives to the node need not be shared.
  std::optional<cache::Link> of(const cache::RepositoryKey& repository, const Digest& digest, Who who) const;
  // May a member's word open it?
  bool may_be_told(const cache::RepositoryKey& repository, const Digest& digest, Who who) const;

  // By upstream's word.
  void put(const cache::RepositoryKey& repository, std::vector<cache::Link> links);
  // Listed by a manifest that a member brought. What upstream said before stays.
  void put_told(const cache::RepositoryKey& repository, std::vector<cache::Link> links);
  // A blob has come for this repository and no other one: what was told of it has come true.
  void came_alone(const cache::RepositoryKey& repository, const Digest& digest);

 private:
  void open_by_class(const cache::RepositoryKey& repository, const std::vector<Digest>& digests);

  cache::Catalog& catalog_;
  const cache::BlobStore& store_;
  const Downloads& downloads_;
};

}  // namespace layerd::proxy
