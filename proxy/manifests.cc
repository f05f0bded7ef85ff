#include "proxy/manifests.h"

#include <fmt/core.h>

#include "proxy/registry/manifest.h"
#include "runtime/answer_later.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

// A manifest that does not end in this time is given up, whatever drips.
constexpr Duration kManifestWithin = std::chrono::minutes(2);
// Larger ones are hashed and parsed on a worker.
constexpr std::size_t kMostOnLoop = 64u << 10;

// What a check needs and what it gives: plain values, so that it can run on a worker.
struct Unchecked {
  std::string bytes;
  std::string content_type;
  std::optional<Digest> expected;  // by request, or by upstream's Docker-Content-Digest
  std::string from;                // the endpoint, for messages
};
struct Checked {
  std::string bytes;
  Digest digest;
  registry::ManifestInfo info;
};

Result<Checked> check(Unchecked given) {
  if (given.bytes.empty())
    return Error{Errc::upstream_protocol, fmt::format("{} answered with an empty manifest", given.from)};
  const auto algorithm = given.expected ? given.expected->algorithm() : DigestAlgorithm::sha256;
  const Digest digest = digest_of(algorithm, given.bytes);
  if (given.expected && digest != *given.expected) {
    return Error{Errc::digest_mismatch, fmt::format("the manifest from {} has digest {} instead of {}",
                                                    given.from, digest.str(), given.expected->str())};
  }
  auto info = registry::parse_manifest(given.bytes, given.content_type);
  if (!info) {
    Error error = std::move(info).error();
    error.message = fmt::format("{}: {}", given.from, error.message);
    return error;
  }
  return Checked{std::move(given.bytes), digest, std::move(*info)};
}

// The manifest itself and everything it lists belong to the repository from now on; what a member's manifest
// lists, as far as a member's word goes.
void keep_links(Links& links, const cache::RepositoryKey& repository, const Digest& digest, ByteCount size,
                const registry::ManifestInfo& info, bool is_told) {
  std::vector<cache::Link> listed;
  listed.reserve(info.descriptors.size() + 1);
  for (const registry::Descriptor& one : info.descriptors) {
    if (one.digest == digest) continue;
    listed.push_back({one.digest, cache::LinkKind::listed, one.size, one.media_type});
  }
  cache::Link own{digest, cache::LinkKind::manifest, size, info.media_type};
  if (is_told) links.put_told(repository, std::exchange(listed, {}));
  listed.insert(listed.begin(), std::move(own));
  links.put(repository, std::move(listed));
}

}  // namespace

// One manifest on its way in: asked, read, checked, stored, in this order.
class Manifests::Fetch {
 public:
  Fetch(Manifests& manifests, std::string name, registry::TargetPtr target, std::optional<Digest> expected)
      : manifests_(manifests),
        parts_(manifests.parts_),
        name_(std::move(name)),
        target_(std::move(target)),
        deadline_(Deadline::in(parts_.loop.now(), kManifestWithin)) {
    unchecked_.expected = std::move(expected);
  }

  void start(const std::string& reference) {
    upstream::FetchRequest request;
    request.target = target_;
    request.kind = upstream::Kind::manifest;
    request.reference = reference;
    request.deadline = Deadline::in(parts_.loop.now(), kSourceWithin);
    pending_ = parts_.fetcher.fetch(std::move(request), [this](Result<upstream::FetchResponse> answer) {
      answer ? read(std::move(*answer)) : end(std::move(answer).error());
    });
  }

  Ticket join(Done<ManifestPtr> done) { return waiters_.add(std::move(done)); }
  void answer(const Result<ManifestPtr>& result) { waiters_.answer(result); }

 private:
  void read(upstream::FetchResponse answer) {
    unchecked_.from = answer.endpoint_name;
    member_ = answer.member;
    checked_at_ = answer.checked_at;
    unchecked_.content_type = std::string(answer.headers.get("Content-Type").value_or(""));
    if (const auto said = answer.headers.get("Docker-Content-Digest"); said && !unchecked_.expected) {
      if (auto digest = Digest::parse(*said)) unchecked_.expected = std::move(*digest);
    }
    pending_ = read_whole(
        parts_.loop, manifests_.small_bodies_, std::move(answer.body), deadline_,
        [this](Result<SmallBody> body) { body ? check_it(std::move(*body)) : end(std::move(body).error()); });
  }

  void check_it(SmallBody body) {
    leases_ = std::move(body.leases);
    unchecked_.bytes = std::move(body.bytes);
    if (unchecked_.bytes.size() <= kMostOnLoop) return checked(check(std::move(unchecked_)));
    pending_ = parts_.workers.run<Checked>(
        "check manifest", [given = std::move(unchecked_)]() mutable { return check(std::move(given)); },
        [this](Result<Checked> result) { checked(std::move(result)); });
  }

  void checked(Result<Checked> result) {
    if (!result) return end(std::move(result).error());
    const ByteCount size = result->bytes.size();
    parts_.catalog.put_manifest(result->digest, {result->info.media_type, size});
    keep_links(manifests_.links_, target_->key(), result->digest, size, result->info, !member_.empty());
    Bytes copy = Bytes::copy_of(result->bytes);
    const Digest digest = result->digest;
    manifest_ = std::make_shared<const Manifest>(Manifest{digest,
                                                          std::move(result->info.media_type),
                                                          {std::move(result->bytes), std::move(leases_)},
                                                          member_,
                                                          checked_at_});
    pending_ = parts_.store.put(digest, std::move(copy), [this](Result<Ok> kept) {
      if (!kept) note_not_kept(kept.error());
      end(manifest_);
    });
  }

  // A sick or full disk fails no pull: the manifest is answered, only not kept.
  void note_not_kept(const Error& error) {
    parts_.metrics
        .counter("layerd_manifests_not_kept_total",
                 "Manifests that were served but that the cache could not keep.")
        .add();
    LogLine(LogLevel::warn, "manifest_not_kept")
        .field("ref", target_->key())
        .field("digest", manifest_->digest.str())
        .field("err", error.message);
  }

  void end(Result<ManifestPtr> result) {
    const std::string name = name_;  // we are destroyed in there
    manifests_.ended(name, std::move(result));
  }

  Manifests& manifests_;
  MirrorParts parts_;
  std::string name_;
  registry::TargetPtr target_;
  Deadline deadline_;
  Unchecked unchecked_;
  std::string member_;
  std::int64_t checked_at_ = 0;
  std::vector<BufferBudget::Lease> leases_;
  ManifestPtr manifest_;
  Waiters<ManifestPtr> waiters_;
  Ticket pending_;
};

// One repository that gets the links of a manifest which another one brought.
class Manifests::Adoption final : public Pending<Ok> {
 public:
  Adoption(Manifests& manifests, registry::TargetPtr target, const Digest& digest, Done<Ok> done)
      : Pending(std::move(done)), manifests_(manifests), target_(std::move(target)), digest_(digest) {}

  void start() {
    pending_ = manifests_.confirmations_.ask(target_, digest_, upstream::Kind::manifest,
                                             [this](Result<Confirmed> confirmed) {
                                               if (!confirmed) return answer(std::move(confirmed).error());
                                               is_told_ = confirmed->is_told;
                                               load();
                                             });
  }

 private:
  void load() {
    pending_ = manifests_.load(digest_, [this](Result<ManifestPtr> kept) {
      if (!kept) return answer(std::move(kept).error());
      manifest_ = std::move(*kept);
      if (manifest_->body.bytes.size() <= kMostOnLoop)
        return parsed(registry::parse_manifest(manifest_->body.bytes, manifest_->media_type));
      pending_ = manifests_.parts_.workers.run<registry::ManifestInfo>(
          "parse manifest",
          [manifest = manifest_] {
            return registry::parse_manifest(manifest->body.bytes, manifest->media_type);
          },
          [this](Result<registry::ManifestInfo> info) { parsed(std::move(info)); });
    });
  }
  void parsed(Result<registry::ManifestInfo> info) {
    if (!info) return answer(std::move(info).error());
    keep_links(manifests_.links_, target_->key(), digest_, manifest_->body.bytes.size(), *info, is_told_);
    answer(Ok{});
  }
  void on_cancel() noexcept override { pending_.reset(); }

  Manifests& manifests_;
  registry::TargetPtr target_;
  Digest digest_;
  bool is_told_ = false;
  ManifestPtr manifest_;
  Ticket pending_;
};

Manifests::Manifests(const MirrorParts& parts, SmallBodyBudget& small_bodies, Confirmations& confirmations)
    : parts_(parts),
      links_(parts.catalog, parts.store, parts.downloads),
      small_bodies_(small_bodies),
      confirmations_(confirmations) {}
Manifests::~Manifests() = default;

std::optional<cache::ManifestRecord> Manifests::here(const Digest& digest) const {
  const auto size = parts_.store.known_size(digest);
  if (!size) return std::nullopt;
  auto record = parts_.catalog.manifest(digest);
  if (record) record->size = *size;  // what the store has counts
  return record;
}

Ticket Manifests::load(const Digest& digest, Done<ManifestPtr> done) {
  const auto record = here(digest);
  if (!record) {
    Error gone{Errc::not_found, fmt::format("{} is not in the cache", digest.str())};
    return answer_later<ManifestPtr>(parts_.loop, std::move(gone), std::move(done));
  }
  return parts_.store.get(
      digest, kMostSmallBody,
      [digest, type = record->media_type, done = std::move(done)](Result<Bytes> bytes) mutable {
        if (!bytes) return done(std::move(bytes).error());
        done(ManifestPtr(
            std::make_shared<const Manifest>(Manifest{digest, std::move(type), {bytes->str(), {}}})));
      });
}

Ticket Manifests::fetch(const registry::TargetPtr& target, const std::string& reference,
                        std::optional<Digest> expected, Done<ManifestPtr> done) {
  std::string name = target->question() + "@" + reference;
  if (!fetches_.contains(name) && fetches_.size() >= kMostQuestions)
    return answer_later<ManifestPtr>(parts_.loop, too_many_questions("manifests"), std::move(done));
  auto& fetch = fetches_[name];
  if (fetch) return fetch->join(std::move(done));
  fetch = std::make_unique<Fetch>(*this, std::move(name), target, std::move(expected));
  Ticket waiting = fetch->join(std::move(done));
  fetch->start(reference);
  return waiting;
}

bool Manifests::fetching(const registry::TargetPtr& target, const std::string& reference) const {
  return fetches_.contains(target->question() + "@" + reference);
}

Ticket Manifests::adopt(const registry::TargetPtr& target, const Digest& digest, Done<Ok> done) {
  auto adoption = std::make_shared<Adoption>(*this, target, digest, std::move(done));
  adoption->start();
  return Ticket(adoption);
}

// The fetch is over. It is destroyed here, from within its own callback, after everybody was answered.
void Manifests::ended(const std::string& name, Result<ManifestPtr> result) {
  const auto fetch = std::move(fetches_.extract(name).mapped());
  fetch->answer(result);
}

}  // namespace layerd::proxy
