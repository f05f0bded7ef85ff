// SiteFetcher: asks upstream; and what upstream cannot be asked about, the site (design.md §3.4). Of
// manifests and of the word that a blob belongs to a repository only: the bytes of blobs come by units
// (proxy/download_site).
//
// A member's word counts as upstream's last one: a tag only where this node has no record of its own, the
// newest check wins, and two imports that disagree are refused by name. Rights travel with it: who asks as
// nobody gets what was open, the node's own clients what was the node's. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/catalog.h"
#include "proxy/peers/messages.h"
#include "proxy/upstream/fetcher.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::proxy {

// What the site remembers; implemented over the peers (daemon/app_peers).
class SiteMemory {
 public:
  virtual ~SiteMemory() = default;
  struct Word {
    std::string member;
    peers::RecallAnswer answer;  // known
  };
  // Never an error: who does not answer knows nothing.
  virtual Ticket recall(const peers::Recall& recall, Done<std::vector<Word>> done) = 0;
  // All of a small blob. Errors: as peers::Wire::get.
  virtual Ticket get(const std::string& member, const peers::BlobName& blob, ByteCount size,
                     Done<std::unique_ptr<http::BodyReader>> done) = 0;
};

// Which word counts. Errors: not_found: nobody knows; upstream_protocol: two imports disagree, named.
Result<SiteMemory::Word> newest(const std::vector<SiteMemory::Word>& words, const std::string& what);

class SiteFetcher final : public upstream::Fetcher {
 public:
  // How long upstream is waited for before the site is asked as well.
  static constexpr Duration kPatience = std::chrono::milliseconds(1500);

  // memory null: nothing but upstream.
  SiteFetcher(Loop& loop, upstream::Fetcher& upstream, cache::Catalog& catalog, Metrics& metrics)
      : loop_(loop),
        upstream_(upstream),
        catalog_(catalog),
        recalled_(
            metrics.counter("layerd_recalled_total",
                            "Manifests and links that members of the site vouched for while upstream could "
                            "not be asked.")) {}
  // tags: false: no tag is taken from members (tags.from_peers: never).
  void use(SiteMemory* memory, bool tags) { memory_ = memory, tags_ = tags; }

  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override;

 private:
  class Call;
  bool may_recall(const upstream::FetchRequest& request) const;

  Loop& loop_;
  upstream::Fetcher& upstream_;
  cache::Catalog& catalog_;
  Counter& recalled_;
  SiteMemory* memory_ = nullptr;
  bool tags_ = true;
};

}  // namespace layerd::proxy
