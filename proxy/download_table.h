// DownloadTable: digest -> the one running Download of this node. It holds running ones weakly; those
// whose last follower left it holds itself for as long as the rule of docs/decisions/0004 says.
// Loop thread. Destroying it lets every download go; followers fail with `canceled`.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/download.h"
#include "proxy/download_settings.h"
#include "proxy/downloads.h"

namespace layerd::proxy {

class DownloadTable final : public Downloads, public Download::Events {
 public:
  DownloadTable(Loop& loop, cache::BlobStore& store, upstream::Fetcher& fetcher, BufferBudget& budget,
                Metrics& metrics, DownloadSettings settings);
  ~DownloadTable() override;
  DownloadTable(const DownloadTable&) = delete;
  DownloadTable& operator=(const DownloadTable&) = delete;

  bool runs(const Digest& digest) const override;
  bool runs_for_others(const Digest& digest, const std::string& repository) const override;
  bool asks_members(const registry::Target& target) const override;
  Joined join(const Digest& digest, registry::TargetPtr target, std::optional<ByteCount> size_hint,
              bool has_right) override;
  std::vector<DownloadStatus> status() const override;
  std::size_t running() const override;
  void drain() override;
  // The longest silence of an upstream body; from the next one on.
  void set_stall(Duration stall) { parts_->settings.stall = stall; }

  // From the next download on. Both may be null.
  void share_with(peers::Sharing* sharing, std::function<peers::Rights(const registry::Target&)> rights_of) {
    parts_->sharing = sharing;
    parts_->rights_of = std::move(rights_of);
  }
  // Called when a blob was committed that came for one repository alone.
  void when_alone(std::function<void(const std::string& repository, const Digest& digest)> when_alone) {
    when_alone_ = std::move(when_alone);
  }
  // Null: none runs.
  std::shared_ptr<Download> running_download(const Digest& digest) const { return find(digest); }

  // For downloads.
  void ended(Download& download) override;
  void deserted(Download& download) override;

 private:
  struct Kept {
    std::shared_ptr<Download> download;
    Ticket until;
  };
  void keep(const std::shared_ptr<Download>& download, Duration wait, bool is_last);
  Duration patience_for(const Digest& digest);
  std::shared_ptr<Download> find(const Digest& digest) const;

  std::shared_ptr<DownloadParts> parts_;
  std::function<void(const std::string&, const Digest&)> when_alone_;
  bool draining_ = false;
  std::unordered_map<Digest, std::weak_ptr<Download>> running_;
  std::unordered_map<Digest, Kept> kept_;         // nobody follows these
  std::unordered_map<Digest, TimePoint> broken_;  // a body of these broke off lately
  std::vector<std::weak_ptr<Download>> ended_;    // followers still hold these
};

}  // namespace layerd::proxy
