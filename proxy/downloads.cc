#include "proxy/downloads.h"

#include <algorithm>
#include <chrono>

#include "proxy/download_follower.h"
#include "proxy/download_table.h"

namespace layerd::proxy {

namespace {

constexpr Duration kBrokenFor = std::chrono::minutes(1);
constexpr std::size_t kMostBroken = 1024;

Joined joined(std::shared_ptr<DownloadFollower> follower, const std::shared_ptr<Download>& download,
              const registry::TargetPtr& target, bool is_first) {
  std::weak_ptr<Download> weak = download;
  Joined joined{std::move(follower), is_first, nullptr, nullptr, nullptr};
  joined.confirmed_by_target = [weak, target] {
    const auto known = weak.lock();
    return known && known->places().confirmed_by(*target);
  };
  joined.came_from_member = [weak] {
    const auto known = weak.lock();
    return known && known->is_from_member();
  };
  joined.has_others = [weak, target] {
    const auto known = weak.lock();
    return known && std::any_of(known->targets().begin(), known->targets().end(),
                                [&](const auto& other) { return other->key() != target->key(); });
  };
  return joined;
}

}  // namespace

DownloadTable::DownloadTable(Loop& loop, cache::BlobStore& store, upstream::Fetcher& fetcher,
                             BufferBudget& budget, Metrics& metrics, DownloadSettings settings)
    : parts_(std::make_shared<DownloadParts>(
          DownloadParts{loop, store, fetcher, budget, settings, DownloadMetrics(metrics)})) {}

DownloadTable::~DownloadTable() {
  kept_.clear();
  for (const auto& [digest, weak] : running_) {
    if (const auto download = weak.lock()) download->close();
  }
  for (const auto& weak : ended_) {
    if (const auto download = weak.lock()) download->close();
  }
}

std::shared_ptr<Download> DownloadTable::find(const Digest& digest) const {
  const auto found = running_.find(digest);
  return found == running_.end() ? nullptr : found->second.lock();
}

bool DownloadTable::runs(const Digest& digest) const {
  const auto download = find(digest);
  return download && download->is_running();
}

bool DownloadTable::runs_for_others(const Digest& digest, const std::string& repository) const {
  const auto download = find(digest);
  return download && download->is_running() && !download->is_only_of(repository);
}

bool DownloadTable::asks_members(const registry::Target& target) const {
  return parts_->sharing && parts_->sharing->shares(target.registry, target.repository);
}

Joined DownloadTable::join(const Digest& digest, registry::TargetPtr target,
                           std::optional<ByteCount> size_hint, bool has_right) {
  LAYERD_ON_LOOP(parts_->loop);
  if (auto download = find(digest); download && download->is_running()) {
    parts_->metrics.joined.add();
    download->add_target(target);
    download->expect(size_hint);
    auto follower = std::make_shared<DownloadFollower>(download);
    kept_.erase(digest);
    return joined(std::move(follower), download, target, false);
  }
  auto download = std::make_shared<Download>(parts_, *this, digest, target, patience_for(digest));
  if (has_right) download->share();
  download->expect(size_hint);
  auto follower = std::make_shared<DownloadFollower>(download);
  if (draining_) {
    ended_.push_back(download);
    download->close();
    return {std::move(follower), true, nullptr, nullptr};
  }
  auto& place = running_[digest];
  if (!place.expired()) ended_.push_back(place);  // it ended a moment ago and its followers go on with it
  place = download;
  download->start();
  return joined(std::move(follower), download, target, true);
}

// A body of this blob broke off a moment ago: the client that comes back has other hosts to ask.
Duration DownloadTable::patience_for(const Digest& digest) {
  const TimePoint now = parts_->loop.now();
  const auto found = broken_.find(digest);
  if (found == broken_.end() || now - found->second > kBrokenFor) return parts_->settings.connect;
  return std::min(parts_->settings.reopen, parts_->settings.connect);
}

void DownloadTable::ended(Download& download) {
  const Digest digest = download.digest();
  if (download.state() == Download::State::committed) {
    const std::string repository = download.targets().front()->key();
    if (when_alone_ && download.is_only_of(repository)) when_alone_(repository, digest);
    if (parts_->sharing) parts_->sharing->stored(digest);
  }
  if (download.state() == Download::State::failed && download.has_served()) {
    if (broken_.size() >= kMostBroken) broken_.clear();
    broken_[digest] = parts_->loop.now();
  }
  ended_.erase(std::remove_if(ended_.begin(), ended_.end(), [](const auto& weak) { return weak.expired(); }),
               ended_.end());
  if (find(digest).get() == &download) {
    if (download.follower_count() > 0) ended_.push_back(running_[digest]);
    running_.erase(digest);
  }
  const auto kept = kept_.find(digest);
  if (kept == kept_.end() || kept->second.download.get() != &download) return;
  const Kept last = std::move(kept->second);
  kept_.erase(kept);
}

// The rule for the last one leaving: linger for those who come back (containerd hangs up on every
// chunk), then finish what is nearly finished, else stop; what came stays on disk for a resume.
void DownloadTable::deserted(Download& download) {
  if (draining_ && download.is_running()) return;
  keep(download.shared_from_this(), parts_->settings.linger, false);
}

void DownloadTable::keep(const std::shared_ptr<Download>& download, Duration wait, bool is_last) {
  const Digest digest = download->digest();
  Kept& kept = kept_[digest];
  kept.download = download;
  kept.until = parts_->loop.after(wait, "download: nobody follows", [this, digest, is_last] {
    const auto found = kept_.find(digest);
    if (found == kept_.end()) return;
    const Kept spent = std::move(found->second);
    kept_.erase(found);
    if (!is_last && spent.download->is_nearly_finished())
      return keep(spent.download, parts_->settings.finish_within, true);
    if (find(digest) == spent.download) running_.erase(digest);  // nobody else holds it
  });
}

std::vector<DownloadStatus> DownloadTable::status() const {
  std::vector<DownloadStatus> rows;
  for (const auto& [digest, weak] : running_) {
    if (const auto download = weak.lock()) rows.push_back(download->status());
  }
  for (const auto& weak : ended_) {
    const auto download = weak.lock();
    if (download && download->state() == Download::State::passing_through) rows.push_back(download->status());
  }
  return rows;
}

std::size_t DownloadTable::running() const {
  return static_cast<std::size_t>(std::count_if(running_.begin(), running_.end(), [](const auto& row) {
    const auto download = row.second.lock();
    return download && download->is_running();
  }));
}

void DownloadTable::drain() {
  draining_ = true;
  const auto let_go = std::move(kept_);
  kept_.clear();
}

}  // namespace layerd::proxy
