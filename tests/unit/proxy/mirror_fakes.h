// The neighbours of the Mirror as small scripted fakes, and a bench that wires them on virtual time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/router.h"
#include "runtime/answer_later.h"
#include "runtime/json.h"
#include "tests/support/recorded_exchange.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

inline Digest sha256_of(std::string_view bytes) { return digest_of(DigestAlgorithm::sha256, bytes); }

// Finished blobs only; what is in `hot` answers from memory.
class FakeStore final : public cache::BlobStore {
 public:
  explicit FakeStore(Loop& loop) : loop_(loop) {}
  void add(std::string_view bytes) { blobs[sha256_of(bytes)] = std::string(bytes); }

  Ticket open(const Digest& digest, Done<cache::StoredBlobPtr> done) override;
  std::optional<ByteCount> known_size(const Digest& digest) const override;
  std::vector<Digest> units(const Digest&) const override { return {}; }
  Ticket begin(const Digest& digest, Done<cache::PartialBlobPtr> done) override;
  Ticket reserve(const Digest& digest, ByteCount more, Done<Ok> done) override;
  Ticket commit(cache::PartialBlobPtr partial, Done<cache::StoredBlobPtr> done) override;
  Ticket put(const Digest& digest, Bytes content, Done<Ok> done) override;
  Ticket get(const Digest& digest, ByteCount most, Done<Bytes> done) override;
  const std::string* hot(const Digest& digest) override;
  void served_whole(const Digest& digest) override { served.push_back(digest); }
  std::vector<cache::BlobRow> list(std::optional<Digest>, std::size_t) override { return {}; }
  Ticket remove(const Digest& digest, Done<Ok> done) override;
  Ticket pin(const Digest& digest, bool pinned, Done<Ok> done) override;
  Ticket gc(Done<ByteCount> done) override;
  Ticket verify(const Digest& digest, Done<bool> done) override;
  cache::StoreStats stats() const override { return {}; }

  std::map<Digest, std::string> blobs;
  std::set<Digest> hot_ones;
  std::vector<Digest> served;
  std::optional<Error> put_fails;
  bool open_fails = false;  // known, but open() and get() answer not_found
  bool next_goes_bad = false;

 private:
  Loop& loop_;
};

class FakeCatalog final : public cache::Catalog {
 public:
  using Key = std::pair<std::string, std::string>;
  std::optional<cache::TagRecord> tag(const cache::RepositoryKey& repository,
                                      std::string_view tag) const override;
  void put_tag(const cache::RepositoryKey& repository, std::string_view tag,
               cache::TagRecord record) override;
  std::optional<cache::ManifestRecord> manifest(const Digest& digest) const override;
  void put_manifest(const Digest& digest, cache::ManifestRecord record) override;
  void put_links(const cache::RepositoryKey& repository, std::vector<cache::Link> links) override;
  std::optional<cache::Link> link(const cache::RepositoryKey& repository,
                                  const Digest& digest) const override;
  std::optional<cache::RepositoryRecord> repository(const cache::RepositoryKey& repository) const override;
  void put_repository(const cache::RepositoryKey& repository, cache::RepositoryRecord record) override;
  std::optional<std::string> grant(std::string_view key) const override {
    const auto found = grants.find(std::string(key));
    return found == grants.end() ? std::nullopt : std::optional(found->second);
  }
  void put_grant(std::string_view key, std::string_view value) override {
    grants[std::string(key)] = std::string(value);
  }
  void remove_grant(std::string_view key) override { grants.erase(std::string(key)); }
  void each_grant(std::string_view from,
                  const std::function<bool(std::string_view, std::string_view)>& row) const override {
    for (auto at = grants.lower_bound(std::string(from)); at != grants.end(); ++at)
      if (!row(at->first, at->second)) return;
  }
  void each_tag(const std::function<bool(const cache::RepositoryKey&, std::string_view,
                                         const cache::TagRecord&)>&) const override {}
  void remove_tag(const cache::RepositoryKey& repository, std::string_view tag) override;

  std::map<Key, cache::TagRecord> tags;
  std::map<Digest, cache::ManifestRecord> manifests;
  std::map<std::pair<std::string, Digest>, cache::Link> links;
  std::map<std::string, cache::RepositoryRecord> repositories;
  std::map<std::string, std::string> grants;
};

// Says of each connection what the test wants; for those that were not looked for yet.
struct FakeOwners final : net::SocketOwners {
  std::optional<net::SocketOwner> find(const net::Address&, const net::Address&) override { return owner; }
  std::optional<net::SocketOwner> owner = net::SocketOwner{0, 0};
};
struct FakeCgroups final : net::Cgroups {
  explicit FakeCgroups(Loop& loop) : loop_(loop) {}
  using Kind = net::CgroupKind;
  std::optional<Kind> kind(std::uint64_t id) const override {
    if (id == 0) return Kind::plain;
    const auto found = known.find(id);
    return found == known.end() ? std::nullopt : std::optional(found->second);
  }
  Ticket look_up(std::uint64_t id, Done<Kind> done) override {
    known[id] = next;
    return answer_later<Kind>(loop_, Result<Kind>(next), std::move(done));
  }
  std::string trouble() const override { return next == Kind::unreadable ? "no cgroups here" : ""; }
  std::map<std::uint64_t, Kind> known;
  Kind next = Kind::plain;  // what a look-up finds

 private:
  Loop& loop_;
};

// What the scripted upstream says to one request.
struct Reply {
  std::optional<Error> error;
  http::Headers headers;
  std::string body;
  bool tells_digest = true;  // Docker-Content-Digest
  bool tells_length = true;
  Duration after{std::chrono::milliseconds(10)};
  bool never = false;              // hangs
  std::vector<Duration> progress;  // moments at which the attempt moves on
  bool authenticated = false;
  std::string member = {};  // not empty: it is a member of the site that says so
};

class FakeFetcher final : public upstream::Fetcher {
 public:
  explicit FakeFetcher(Loop& loop) : loop_(loop) {}
  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override;
  // Requests so far of that kind, by HEAD or GET.
  std::size_t count(upstream::Kind kind, bool head) const;

  std::function<Reply(const upstream::FetchRequest&)> script;
  std::vector<upstream::FetchRequest> requests;

 private:
  struct Call;
  Loop& loop_;
};

// A source whose size and bytes come when the test says so.
class FakeGrowing final : public cache::Source, public std::enable_shared_from_this<FakeGrowing> {
 public:
  explicit FakeGrowing(Loop& loop) : loop_(loop) {}
  Ticket size(Done<ByteCount> done) override;
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override;
  FilePtr file() const override { return file_; }
  void want(ByteRange range) override { wanted.push_back(range); }

  void confirm(ByteCount total);
  void grow(std::string_view more);
  void fail(Error why);
  void commit();  // turns into a file

  std::vector<ByteRange> wanted;

 private:
  struct Read;
  void settle();
  Loop& loop_;
  std::optional<ByteCount> total_;
  std::string bytes_;
  std::optional<Error> error_;
  FilePtr file_;
  std::vector<std::shared_ptr<Pending<ByteCount>>> sizes_;
  std::vector<std::shared_ptr<Read>> reads_;
};

class FakeDownloads final : public proxy::Downloads {
 public:
  explicit FakeDownloads(Loop& loop) : loop_(loop) {}
  proxy::Joined join(const Digest& digest, registry::TargetPtr target, std::optional<ByteCount> hint,
                     bool has_right) override;
  bool asks_members(const registry::Target&) const override { return are_asked; }
  std::vector<proxy::DownloadStatus> status() const override { return {}; }
  std::size_t running() const override { return 0; }
  void drain() override {}
  bool runs(const Digest& digest) const override {
    const auto found = sources.find(digest);
    return found != sources.end() && !found->second.expired();
  }
  bool runs_for_others(const Digest& digest, const std::string&) const override {
    return runs(digest) && !are_only_ours;
  }
  // The download of `digest` that runs; begun by the test if there is none.
  std::shared_ptr<FakeGrowing> of(const Digest& digest);

  struct Join {
    Digest digest;
    std::string key;
    std::optional<ByteCount> hint;
    bool has_right = false;
  };
  std::vector<Join> joins;
  std::optional<bool> proof;   // what confirmed_by_target answers; nothing: it is empty
  bool are_shared = false;     // has_others
  bool are_only_ours = false;  // those that run
  bool are_asked = false;      // members of the site
  std::map<Digest, std::weak_ptr<FakeGrowing>> sources;

 private:
  Loop& loop_;
  std::vector<std::shared_ptr<FakeGrowing>> held_;
};

FilePtr file_with(std::string_view bytes);

// A manifest with a config and layers of these bytes.
std::string image_manifest(const std::vector<std::string>& blobs);

class MirrorBench {
 public:
  MirrorBench();
  // Asks and lets everything that needs no time happen.
  std::unique_ptr<RecordedExchange> ask(const std::string& method, const std::string& target,
                                        http::Headers headers = {});
  // The same, and lets time pass until it has ended (at most a minute).
  std::unique_ptr<RecordedExchange> get(const std::string& target, http::Headers headers = {});
  std::unique_ptr<RecordedExchange> head(const std::string& target, http::Headers headers = {});
  void wait_for(RecordedExchange& exchange);
  void change(const std::function<void(proxy::MirrorSettings&)>& edit);
  // An image whose manifest and links are known as if it had been pulled: answers the manifest's digest.
  // The repository is open, as every answer of an upstream without credentials says.
  Digest keep_image(const std::string& key, const std::string& tag, const std::string& manifest);
  void link(const std::string& key, const Digest& digest, ByteCount size = 0);

  VirtualLoop loop;
  Metrics metrics;
  Workers workers{loop, 1};
  BufferBudget buffers{loop, 16_MiB};
  FakeStore store{loop};
  FakeCatalog catalog;
  FakeFetcher fetcher{loop};
  proxy::LearningFetcher learning{fetcher, catalog, loop};
  FakeDownloads downloads{loop};
  FakeOwners owners;
  FakeCgroups cgroups{loop};
  SealingKey sealing_key = SealingKey::temporary();
  proxy::MirrorSettings settings;
  std::string not_ready;
  std::unique_ptr<proxy::Mirror> mirror;
};

}  // namespace layerd::test
