// The part of App behind sharing between nodes: downloads, what they share, and what the site remembers. Loop
// thread.
#include "daemon/app.h"
#include "proxy/links.h"

namespace layerd::daemon {

void App::build_downloads() {
  learning_ = std::make_unique<proxy::LearningFetcher>(*fetcher_, store_->catalog(), loop_);
  remembering_ = std::make_unique<proxy::SiteFetcher>(
      proxy::SiteFetcher::Parts{loop_, *workers_, *learning_, store_->catalog(), *buffers_, metrics_});
  proxy::DownloadSettings downloads;
  downloads.stall = settings_->stall_timeout;
  downloads_ =
      std::make_unique<proxy::DownloadTable>(loop_, *store_, *remembering_, *buffers_, metrics_, downloads);
  downloads_->when_alone([this](const std::string& repository, const Digest& digest) {
    proxy::Links(store_->catalog(), *store_, *downloads_).came_alone(repository, digest);
  });
}

void App::build_peers() {
  if (!settings_->peers.is_on()) return;
  peers_ = SitePart::start(
      {loop_, *workers_, metrics_, *resolver_, *dialer_, *store_, store_->catalog(), *downloads_}, settings_);
  downloads_->share_with(&peers_->sharing(), [this](const registry::Target& target) {
    const auto kept = store_->catalog().repository(target.key());
    return kept ? proxy::rights_of(kept->repository_class) : peers::Rights::unknown;
  });
  use_peers();
  share_out_downloads();
  peers_->when_members_change([this] { share_out_downloads(); });
}

void App::use_peers() {
  remembering_->use(peers_.get(), settings_->tags_from_peers, settings_->tags_check_within);
}

// limits.site_download belongs to those of the site that are alive, in equal shares; looked at again when the
// list changes, and now and then.
void App::share_out_downloads() {
  ByteCount limit = settings_->download_limit;
  sharing_out_.reset();
  if (const ByteCount all = settings_->site_download_limit; all > 0) {
    const ByteCount share = std::max<ByteCount>(1, all / (peers_ ? peers_->alive() : 1));
    limit = limit == 0 ? share : std::min(limit, share);
    if (peers_)
      sharing_out_ =
          loop_.after(std::chrono::seconds(2), "limits.site_download", [this] { share_out_downloads(); });
  }
  fetcher_->set_download_limit(limit);
}

}  // namespace layerd::daemon
