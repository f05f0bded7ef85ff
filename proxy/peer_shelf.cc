#include "proxy/peer_shelf.h"

#include <fmt/core.h>

#include "proxy/download_relay.h"
#include "proxy/repository_classes.h"
#include "runtime/answer_later.h"

namespace layerd::proxy {

peers::Rights rights_of(cache::RepositoryClass repository_class) {
  switch (repository_class) {
    case cache::RepositoryClass::open:
      return peers::Rights::open;
    case cache::RepositoryClass::node:
      return peers::Rights::node;
    case cache::RepositoryClass::client:
      return peers::Rights::client;
    case cache::RepositoryClass::unknown:
      break;
  }
  return peers::Rights::unknown;
}

std::shared_ptr<Download> PeerShelf::running(const peers::BlobName& blob) const {
  auto download = downloads_.running_download(blob.digest);
  if (!download || !download->is_running()) return nullptr;
  // Who began it for this repository has asked, which proves nothing.
  return is_linked(blob.key(), blob.digest) || download->is_confirmed_for(blob.key()) ? download : nullptr;
}

bool PeerShelf::is_linked(const std::string& repository, const Digest& digest) const {
  return links_.of(repository, digest, Links::Who::nobody).has_value();
}

std::optional<peers::Shelf::Held> PeerShelf::held(const peers::BlobName& blob, ByteRange range) {
  Held held;
  if (const auto size = store_.known_size(blob.digest)) {
    if (!is_linked(blob.key(), blob.digest)) return std::nullopt;
    held.complete = true;
    held.total = size;
    held.have = std::min(range.end, *size) - std::min(range.first, *size);
    return held;
  }
  const auto download = running(blob);
  if (!download) return std::nullopt;
  held.running = true;
  held.total = download->size();
  if (const auto& partial = download->partial())
    held.have = std::min(range.end, partial->present().run_end(range.first)) - range.first;
  return held;
}

peers::Rights PeerShelf::rights(const std::string& registry, const std::string& repository) {
  const auto record = catalog_.repository(registry + "/" + repository);
  return record ? rights_of(record->repository_class) : peers::Rights::unknown;
}

Ticket PeerShelf::open(const peers::BlobName& blob, Done<cache::SourcePtr> done) {
  if (const auto download = running(blob)) {
    auto relay = std::make_shared<DownloadRelay>(*download);
    return loop_.post(
        [relay = std::move(relay), done = std::move(done)]() mutable { done(cache::SourcePtr(relay)); });
  }
  if (!is_linked(blob.key(), blob.digest))
    return answer_later<cache::SourcePtr>(
        loop_,
        Error{Errc::not_found, fmt::format("{} is not known of {} here", blob.digest.str(), blob.key())},
        std::move(done));
  return store_.open(blob.digest, [done = std::move(done)](Result<cache::StoredBlobPtr> stored) mutable {
    if (!stored) return done(std::move(stored).error());
    done(cache::SourcePtr(std::move(*stored)));
  });
}

// What is not longer than a unit is its own only unit.
std::vector<Digest> PeerShelf::units(const Digest& digest) {
  const auto size = store_.known_size(digest);
  if (!size) return {};
  if (*size <= peers::kUnit && digest.algorithm() == DigestAlgorithm::sha256) return {digest};
  return store_.units(digest);
}

peers::RecallAnswer PeerShelf::recall(const peers::Recall& recall) {
  peers::RecallAnswer answer;
  const std::string key = recall.registry + "/" + recall.repository;
  answer.rights = rights(recall.registry, recall.repository);
  if (const auto digest = Digest::parse(recall.reference)) {
    const auto size = store_.known_size(*digest);
    if (!size || *size == 0 || !is_linked(key, *digest)) return answer;
    answer.known = true;
    answer.digest = *digest;
    answer.size = *size;
    if (const auto record = catalog_.manifest(*digest)) answer.media_type = record->media_type;
    return answer;
  }
  const auto record = catalog_.tag(key, recall.reference);
  if (!record) return answer;
  const auto size = store_.known_size(record->digest);
  if (!size || *size == 0) return answer;
  answer.known = true;
  answer.digest = record->digest;
  answer.media_type = record->media_type;
  answer.size = *size;
  answer.checked_at = std::min(record->checked_at, unix_seconds(loop_.wall_now()));
  return answer;
}

std::vector<Digest> PeerShelf::list(std::optional<Digest> after, std::size_t most) {
  std::vector<Digest> digests;
  for (const auto& row : store_.list(after, most)) digests.push_back(row.digest);
  return digests;
}

}  // namespace layerd::proxy
