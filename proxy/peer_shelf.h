// PeerShelf: what members of the site may know of this node: the store, the catalog and the running downloads
// as one Shelf. It answers about a digest only under a repository to which it is linked here (design.md
// §3.5). Loop thread.
#pragma once

#include "cache/blob_store.h"
#include "cache/catalog.h"
#include "proxy/download_table.h"
#include "proxy/links.h"
#include "proxy/peers/sharing.h"

namespace layerd::proxy {

peers::Rights rights_of(cache::RepositoryClass repository_class);

class PeerShelf final : public peers::Shelf {
 public:
  // All of it outlives this and every source it gave.
  PeerShelf(Loop& loop, cache::BlobStore& store, cache::Catalog& catalog, DownloadTable& downloads)
      : loop_(loop),
        store_(store),
        catalog_(catalog),
        downloads_(downloads),
        links_(catalog, store, downloads) {}

  std::optional<Held> held(const peers::BlobName& blob, ByteRange range) override;
  peers::Rights rights(const std::string& registry, const std::string& repository) override;
  Ticket open(const peers::BlobName& blob, Done<cache::SourcePtr> done) override;
  std::vector<Digest> units(const Digest& digest) override;
  peers::RecallAnswer recall(const peers::Recall& recall) override;
  std::vector<Digest> list(std::optional<Digest> after, std::size_t most) override;

 private:
  // The download of it that members may read from; null if there is none.
  std::shared_ptr<Download> running(const peers::BlobName& blob) const;
  bool is_linked(const std::string& repository, const Digest& digest) const;

  Loop& loop_;
  cache::BlobStore& store_;
  cache::Catalog& catalog_;
  DownloadTable& downloads_;
  Links links_;
};

}  // namespace layerd::proxy
