// SiteFetcher: asks upstream; and what upstream cannot be asked about, the site (design.md §3.4). Of
// manifests and of the word that a blob belongs to a repository only: the bytes of blobs come by units
// (proxy/download_site).
//
// A member's word counts as upstream's last one, and only once upstream failed or lost its patience: a tag
// only where this node has no record of its own, the newest check wins, and two imports that disagree are
// refused by name. Rights travel with it, the strictest that anybody who knows it tells: who asks as nobody
// gets what was open, the node's own clients what was the node's. Bytes are compared before they count, so
// that a member that is dead, busy or lying costs its turn. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/catalog.h"
#include "proxy/peers/messages.h"
#include "proxy/upstream/fetcher.h"
#include "proxy/whole_body.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/workers.h"

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
  // All of a small blob. Errors: as peers::Site::get.
  virtual Ticket get(const std::string& member, const peers::BlobName& blob, ByteCount size,
                     Done<std::unique_ptr<http::BodyReader>> done) = 0;
  // It sent something else than it said.
  virtual void avoid(const std::string& member, const std::string& why) = 0;
};

// Which word counts. Errors: not_found: nobody knows; upstream_protocol: two imports disagree, named.
Result<SiteMemory::Word> newest(const std::vector<SiteMemory::Word>& words, const std::string& what);

// The strictest class that is told; unknown: nobody tells one.
peers::Rights strictest(const std::vector<SiteMemory::Word>& words);

class SiteFetcher final : public upstream::Fetcher {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;
    upstream::Fetcher& upstream;
    cache::Catalog& catalog;
    BufferBudget& buffers;
    Metrics& metrics;
  };
  // An upstream that is merely slow is waited for so long before the site is asked as well; what the site
  // says is kept until it counts.
  static constexpr Duration kAskSite = std::chrono::milliseconds(1500);

  // Until use() nothing but upstream.
  explicit SiteFetcher(const Parts& parts)
      : parts_(parts),
        bodies_(parts.loop, parts.buffers),
        recalled_(parts.metrics.counter(
            "layerd_recalled_total",
            "Manifests and links that members of the site vouched for while upstream could not be asked.")) {}
  // tags: false: no tag is taken from members (tags.from_peers: never). within: tags.check_within, after
  // which an upstream that does not answer counts as away; nothing: auto.
  void use(SiteMemory* memory, bool tags, std::optional<Duration> within) {
    memory_ = memory;
    tags_ = tags;
    within_ = within;
  }

  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override;

 private:
  class Call;
  bool may_recall(const upstream::FetchRequest& request) const;

  Parts parts_;
  SmallBodyBudget bodies_;
  Counter& recalled_;
  SiteMemory* memory_ = nullptr;
  bool tags_ = true;
  std::optional<Duration> within_;
};

}  // namespace layerd::proxy
