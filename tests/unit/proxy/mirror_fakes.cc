#include "tests/unit/proxy/mirror_fakes.h"

#include <sys/mman.h>
#include <unistd.h>

#include "proxy/waiters.h"

namespace layerd::test {
namespace {

class FakeStored final : public cache::StoredBlob {
 public:
  FakeStored(Loop& loop, const Digest& digest, std::string_view bytes, bool goes_bad)
      : loop_(loop), digest_(digest), file_(file_with(bytes)), size_(bytes.size()), goes_bad_(goes_bad) {}
  const Digest& digest() const override { return digest_; }
  ByteCount byte_count() const override { return size_; }
  bool bad() const override { return goes_bad_ && asked_++ > 0; }
  FilePtr file() const override { return file_; }
  Ticket size(Done<ByteCount> done) override {
    return answer_later<ByteCount>(loop_, ByteCount{size_}, std::move(done));
  }
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override {
    return answer_later<Bytes>(loop_, file_->read_at(offset, max), std::move(done));
  }

 private:
  Loop& loop_;
  Digest digest_;
  FilePtr file_;
  ByteCount size_;
  bool goes_bad_;
  mutable int asked_ = 0;
};

class FakeBody final : public http::BodyReader {
 public:
  FakeBody(Loop& loop, std::string bytes, bool tells_length)
      : loop_(loop), bytes_(std::move(bytes)), tells_length_(tells_length) {}
  Ticket read(std::size_t max, Done<Bytes> done) override {
    const std::size_t count = std::min<std::size_t>(bytes_.size() - at_, max);
    Bytes chunk = Bytes::copy_of(ByteView(bytes_).substr(at_, count));
    at_ += count;
    return answer_later<Bytes>(loop_, std::move(chunk), std::move(done));
  }
  std::optional<ByteCount> length() const override {
    return tells_length_ ? std::optional<ByteCount>(bytes_.size()) : std::nullopt;
  }

 private:
  Loop& loop_;
  std::string bytes_;
  bool tells_length_;
  std::size_t at_ = 0;
};

Error not_found(std::string_view what) { return Error{Errc::not_found, std::string(what) + " is not there"}; }

Reply missing_reply(const upstream::FetchRequest& request) {
  Reply reply;
  reply.error = not_found(request.reference);
  return reply;
}

}  // namespace

FilePtr file_with(std::string_view bytes) {
  const int fd = memfd_create("blob", MFD_CLOEXEC);
  auto file = std::make_shared<File>(fd, "memory");
  LAYERD_CHECK(bytes.empty() || file->write_at(0, bytes));
  return file;
}

std::string image_manifest(const std::vector<std::string>& blobs) {
  Json layers = Json::array();
  Json config;
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    Json descriptor{{"mediaType", i == 0 ? "application/vnd.oci.image.config.v1+json"
                                         : "application/vnd.oci.image.layer.v1.tar+gzip"},
                    {"digest", sha256_of(blobs[i]).str()},
                    {"size", blobs[i].size()}};
    if (i == 0)
      config = descriptor;
    else
      layers.push_back(descriptor);
  }
  return dump_json(Json{{"schemaVersion", 2},
                        {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                        {"config", config},
                        {"layers", layers}});
}

Ticket FakeStore::open(const Digest& digest, Done<cache::StoredBlobPtr> done) {
  const auto found = blobs.find(digest);
  if (found == blobs.end() || open_fails)
    return answer_later<cache::StoredBlobPtr>(loop_, not_found(digest.str()), std::move(done));
  cache::StoredBlobPtr blob = std::make_shared<FakeStored>(loop_, digest, found->second, next_goes_bad);
  return answer_later<cache::StoredBlobPtr>(loop_, std::move(blob), std::move(done));
}
std::optional<ByteCount> FakeStore::known_size(const Digest& digest) const {
  const auto found = blobs.find(digest);
  return found == blobs.end() ? std::nullopt : std::optional<ByteCount>(found->second.size());
}
Ticket FakeStore::begin(const Digest&, Done<cache::PartialBlobPtr> done) {
  return answer_later<cache::PartialBlobPtr>(loop_, not_found("a partial blob"), std::move(done));
}
Ticket FakeStore::reserve(const Digest&, ByteCount, Done<Ok> done) {
  return answer_later<Ok>(loop_, Ok{}, std::move(done));
}
Ticket FakeStore::commit(cache::PartialBlobPtr, Done<cache::StoredBlobPtr> done) {
  return answer_later<cache::StoredBlobPtr>(loop_, not_found("a partial blob"), std::move(done));
}
Ticket FakeStore::put(const Digest& digest, Bytes content, Done<Ok> done) {
  if (put_fails) return answer_later<Ok>(loop_, *put_fails, std::move(done));
  blobs[digest] = content.str();
  return answer_later<Ok>(loop_, Ok{}, std::move(done));
}
Ticket FakeStore::get(const Digest& digest, ByteCount most, Done<Bytes> done) {
  const auto found = blobs.find(digest);
  if (found == blobs.end() || open_fails || found->second.size() > most)
    return answer_later<Bytes>(loop_, not_found(digest.str()), std::move(done));
  return answer_later<Bytes>(loop_, Bytes::copy_of(found->second), std::move(done));
}
const std::string* FakeStore::hot(const Digest& digest) {
  return hot_ones.contains(digest) ? &blobs.at(digest) : nullptr;
}
Ticket FakeStore::remove(const Digest&, Done<Ok> done) {
  return answer_later<Ok>(loop_, Ok{}, std::move(done));
}
Ticket FakeStore::pin(const Digest&, bool, Done<Ok> done) {
  return answer_later<Ok>(loop_, Ok{}, std::move(done));
}
Ticket FakeStore::gc(Done<ByteCount> done) {
  return answer_later<ByteCount>(loop_, ByteCount{0}, std::move(done));
}
Ticket FakeStore::verify(const Digest&, Done<bool> done) {
  return answer_later<bool>(loop_, true, std::move(done));
}

std::optional<cache::TagRecord> FakeCatalog::tag(const cache::RepositoryKey& repository,
                                                 std::string_view tag) const {
  const auto found = tags.find({repository, std::string(tag)});
  return found == tags.end() ? std::nullopt : std::optional(found->second);
}
void FakeCatalog::put_tag(const cache::RepositoryKey& repository, std::string_view tag,
                          cache::TagRecord record) {
  tags[{repository, std::string(tag)}] = std::move(record);
}
std::optional<cache::ManifestRecord> FakeCatalog::manifest(const Digest& digest) const {
  const auto found = manifests.find(digest);
  return found == manifests.end() ? std::nullopt : std::optional(found->second);
}
void FakeCatalog::put_manifest(const Digest& digest, cache::ManifestRecord record) {
  manifests[digest] = std::move(record);
}
void FakeCatalog::put_links(const cache::RepositoryKey& repository, std::vector<cache::Link> added) {
  for (auto& link : added) links[{repository, link.digest}] = link;
}
std::optional<cache::Link> FakeCatalog::link(const cache::RepositoryKey& repository,
                                             const Digest& digest) const {
  const auto found = links.find({repository, digest});
  return found == links.end() ? std::nullopt : std::optional(found->second);
}
std::optional<cache::RepositoryRecord> FakeCatalog::repository(const cache::RepositoryKey& repository) const {
  const auto found = repositories.find(repository);
  return found == repositories.end() ? std::nullopt : std::optional(found->second);
}
void FakeCatalog::put_repository(const cache::RepositoryKey& repository, cache::RepositoryRecord record) {
  repositories[repository] = record;
}
void FakeCatalog::remove_tag(const cache::RepositoryKey& repository, std::string_view tag) {
  tags.erase({repository, std::string(tag)});
}

struct FakeFetcher::Call final : Pending<upstream::FetchResponse> {
  using Pending::Pending;
  void on_cancel() noexcept override {
    timer.reset();
    deadline.reset();
    moves.clear();
  }
  Ticket timer, deadline;
  std::vector<Ticket> moves;
};

Ticket FakeFetcher::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  auto call = std::make_shared<Call>(std::move(done));
  auto reply = std::make_shared<Reply>(script ? script(request) : missing_reply(request));
  for (const Duration moment : reply->progress)
    call->moves.push_back(loop_.after(moment, "fake progress", [progress = request.progress] {
      if (progress) progress();
    }));
  const bool head = request.head_only;
  const auto finish = [self = call.get(), reply, head, &loop = loop_] {
    if (reply->error) return self->answer(*reply->error);
    upstream::FetchResponse response;
    response.headers = reply->headers;
    if (reply->tells_digest && !response.headers.has("Docker-Content-Digest"))
      response.headers.set("Docker-Content-Digest", sha256_of(reply->body).str());
    response.endpoint_name = "https://fake.example";
    if (reply->tells_length) response.total = reply->body.size();
    response.body = std::make_unique<FakeBody>(loop, head ? std::string() : reply->body, reply->tells_length);
    response.authenticated = reply->authenticated;
    response.member = reply->member;
    self->answer(std::move(response));
  };
  if (!reply->never) call->timer = loop_.after(reply->after, "fake upstream", finish);
  call->deadline = loop_.at(request.deadline, "fake deadline", [self = call.get()] {
    self->timer.reset();
    self->answer(Error{Errc::upstream_timeout, "the fake upstream did not answer in time"});
  });
  requests.push_back(std::move(request));
  return Ticket(call);
}

std::size_t FakeFetcher::count(upstream::Kind kind, bool head) const {
  std::size_t found = 0;
  for (const auto& request : requests) found += request.kind == kind && request.head_only == head;
  return found;
}

struct FakeGrowing::Read final : Pending<Bytes> {
  Read(ByteCount o, ByteCount m, Done<Bytes> done) : Pending(std::move(done)), offset(o), max(m) {}
  ByteCount offset, max;
};

Ticket FakeGrowing::size(Done<ByteCount> done) {
  sizes_.push_back(std::make_shared<Pending<ByteCount>>(std::move(done)));
  Ticket ticket(sizes_.back());
  loop_.post_detached([self = weak_from_this()] {
    if (auto source = self.lock()) source->settle();
  });
  return ticket;
}

Ticket FakeGrowing::read(ByteCount offset, ByteCount max, Done<Bytes> done) {
  reads_.push_back(std::make_shared<Read>(offset, max, std::move(done)));
  Ticket ticket(reads_.back());
  loop_.post_detached([self = weak_from_this()] {
    if (auto source = self.lock()) source->settle();
  });
  return ticket;
}

void FakeGrowing::confirm(ByteCount total) {
  total_ = total;
  settle();
}
void FakeGrowing::grow(std::string_view more) {
  bytes_ += more;
  settle();
}
void FakeGrowing::fail(Error why) {
  error_ = std::move(why);
  settle();
}
void FakeGrowing::commit() { file_ = file_with(bytes_); }

void FakeGrowing::settle() {
  const auto self = shared_from_this();
  if (total_ || error_) {
    for (const auto& size : std::exchange(sizes_, {})) total_ ? size->answer(*total_) : size->answer(*error_);
  }
  for (const auto& read : std::exchange(reads_, {})) {
    if (read->offset < bytes_.size())
      read->answer(Bytes::copy_of(ByteView(bytes_).substr(read->offset, read->max)));
    else if (error_)
      read->answer(*error_);
    else
      reads_.push_back(read);
  }
}

std::shared_ptr<FakeGrowing> FakeDownloads::of(const Digest& digest) {
  auto source = sources[digest].lock();
  if (source) return source;
  source = std::make_shared<FakeGrowing>(loop_);
  sources[digest] = source;
  held_.push_back(source);
  return source;
}

proxy::Joined FakeDownloads::join(const Digest& digest, registry::TargetPtr target,
                                  std::optional<ByteCount> hint, bool has_right) {
  joins.push_back({digest, target->key(), hint, has_right});
  proxy::Joined joined;
  auto source = sources[digest].lock();
  joined.started = !source;
  if (!source) sources[digest] = source = std::make_shared<FakeGrowing>(loop_);
  joined.source = source;
  if (are_shared) joined.has_others = [] { return true; };
  if (proof) joined.confirmed_by_target = [proof = *proof] { return proof; };
  return joined;
}

MirrorBench::MirrorBench() {
  auto rules = registry::Rules::make({});
  LAYERD_CHECK(rules);
  settings.rules = *rules;
  settings.instance = "layerd-test";
  proxy::SitePages pages{[this] { return not_ready; }, [this] { return metrics.text(); },
                         [] { return proxy::StatusFigures{}; }};
  mirror = std::make_unique<proxy::Mirror>(
      proxy::MirrorParts{loop, workers, metrics, store, catalog, downloads, learning, buffers, owners,
                         cgroups, sealing_key},
      std::make_shared<const proxy::MirrorSettings>(settings), std::move(pages));
}

void MirrorBench::change(const std::function<void(proxy::MirrorSettings&)>& edit) {
  edit(settings);
  mirror->set_settings(std::make_shared<const proxy::MirrorSettings>(settings));
}

std::unique_ptr<RecordedExchange> MirrorBench::ask(const std::string& method, const std::string& target,
                                                   http::Headers headers) {
  auto exchange = std::make_unique<RecordedExchange>(loop, method, target, std::move(headers));
  exchange->serve_with(*mirror);
  loop.run();
  return exchange;
}

void MirrorBench::wait_for(RecordedExchange& exchange) {
  for (int i = 0; i < 6000 && !exchange.ended(); ++i) loop.advance(std::chrono::milliseconds(10));
}

std::unique_ptr<RecordedExchange> MirrorBench::get(const std::string& target, http::Headers headers) {
  auto exchange = ask("GET", target, std::move(headers));
  wait_for(*exchange);
  return exchange;
}

std::unique_ptr<RecordedExchange> MirrorBench::head(const std::string& target, http::Headers headers) {
  auto exchange = ask("HEAD", target, std::move(headers));
  wait_for(*exchange);
  return exchange;
}

Digest MirrorBench::keep_image(const std::string& key, const std::string& tag, const std::string& manifest) {
  const Digest digest = sha256_of(manifest);
  store.add(manifest);
  const std::string type = "application/vnd.oci.image.manifest.v1+json";
  catalog.put_manifest(digest, {type, manifest.size()});
  catalog.put_links(key, {{digest, cache::LinkKind::manifest, manifest.size(), type}});
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(loop.wall_now().time_since_epoch()).count();
  catalog.put_tag(key, tag, {digest, type, manifest.size(), now - 3600});
  catalog.put_repository(key, {cache::RepositoryClass::open, now});
  return digest;
}

void MirrorBench::link(const std::string& key, const Digest& digest, ByteCount size) {
  catalog.put_links(key, {{digest, cache::LinkKind::listed, size, "application/octet-stream"}});
  catalog.put_repository(key, {cache::RepositoryClass::open, proxy::unix_seconds(loop.wall_now())});
}

}  // namespace layerd::test
