// How many units of a download come at a time, where more of them bring more and where they do not. Nothing
// is kept of the bytes: a download long enough to be measured would not fit into a test.
#include "proxy/download_table.h"
#include "tests/support/catch.h"
#include "tests/support/scripted_fetcher.h"
#include "tests/support/virtual_loop.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

constexpr ByteCount kChunk = 256_KiB;

template <class T>
Ticket posted(Loop& loop, Result<T> result, Done<T> done) {
  auto call = std::make_shared<Pending<T>>(std::move(done));
  auto kept = std::make_shared<Result<T>>(std::move(result));
  loop.post_detached([call, kept] { call->answer(std::move(*kept)); });
  return Ticket(call);
}

// Knows which bytes are here and none of them.
struct Outline final : cache::PartialBlob {
  Outline(Loop& l, const Digest& d) : loop(l), name(d) {}
  const Digest& digest() const override { return name; }
  std::optional<ByteCount> size() const override { return total; }
  void set_size(ByteCount size) override { total = size; }
  const RangeSet& present() const override { return here; }
  ByteCount hashed_front() const override { return 0; }
  Ticket write(ByteCount offset, Bytes bytes, Done<Ok> done) override {
    here.add({offset, offset + bytes.size()});
    return posted<Ok>(loop, Ok{}, std::move(done));
  }
  Ticket read(ByteCount, ByteCount max, Done<Bytes> done) override {
    return posted<Bytes>(loop, Bytes(max), std::move(done));
  }
  Ticket hash(ByteRange, Done<Digest> done) override { return posted<Digest>(loop, name, std::move(done)); }
  void take_back(ByteRange) override {}
  Ticket verify(Done<Ok> done) override { return posted<Ok>(loop, Ok{}, std::move(done)); }
  Ticket hasher_at_front(Done<std::pair<ByteCount, Hasher>> done) override {
    using Front = std::pair<ByteCount, Hasher>;
    return posted<Front>(loop, Error{Errc::local_io, "none"}, std::move(done));
  }
  unsigned generation() const override { return 0; }
  void discard() override { here = {}; }
  Loop& loop;
  const Digest name;
  std::optional<ByteCount> total;
  RangeSet here;
};

struct OutlineStore final : cache::BlobStore {
  explicit OutlineStore(Loop& l) : loop(l) {}
  struct Stored final : cache::StoredBlob {
    Stored(Loop& l, const Digest& d, ByteCount s) : loop(l), name(d), count(s) {}
    const Digest& digest() const override { return name; }
    ByteCount byte_count() const override { return count; }
    Ticket size(Done<ByteCount> done) override {
      return posted<ByteCount>(loop, ByteCount{count}, std::move(done));
    }
    Ticket read(ByteCount, ByteCount max, Done<Bytes> done) override {
      return posted<Bytes>(loop, Bytes(max), std::move(done));
    }
    Loop& loop;
    const Digest name;
    const ByteCount count;
  };
  Ticket open(const Digest&, Done<cache::StoredBlobPtr> done) override {
    return posted<cache::StoredBlobPtr>(loop, Error{Errc::not_found, "not here"}, std::move(done));
  }
  std::optional<ByteCount> known_size(const Digest&) const override { return std::nullopt; }
  Ticket begin(const Digest& digest, Done<cache::PartialBlobPtr> done) override {
    return posted<cache::PartialBlobPtr>(loop, cache::PartialBlobPtr(std::make_shared<Outline>(loop, digest)),
                                         std::move(done));
  }
  std::vector<Digest> units(const Digest&) const override { return {}; }
  Ticket reserve(const Digest&, ByteCount, Done<Ok> done) override {
    return posted<Ok>(loop, Ok{}, std::move(done));
  }
  Ticket commit(cache::PartialBlobPtr partial, Done<cache::StoredBlobPtr> done) override {
    cache::StoredBlobPtr blob = std::make_shared<Stored>(loop, partial->digest(), *partial->size());
    return posted<cache::StoredBlobPtr>(loop, std::move(blob), std::move(done));
  }
  Ticket put(const Digest&, Bytes, Done<Ok> done) override { return posted<Ok>(loop, Ok{}, std::move(done)); }
  Ticket get(const Digest&, ByteCount, Done<Bytes> done) override {
    return posted<Bytes>(loop, Error{Errc::not_found, "not here"}, std::move(done));
  }
  const std::string* hot(const Digest&) override { return nullptr; }
  void served_whole(const Digest&) override {}
  std::vector<cache::BlobRow> list(std::optional<Digest>, std::size_t) override { return {}; }
  Ticket remove(const Digest&, Done<Ok> done) override { return posted<Ok>(loop, Ok{}, std::move(done)); }
  Ticket pin(const Digest&, bool, Done<Ok> done) override { return posted<Ok>(loop, Ok{}, std::move(done)); }
  Ticket gc(Done<ByteCount> done) override { return posted<ByteCount>(loop, ByteCount{0}, std::move(done)); }
  Ticket verify(const Digest&, Done<bool> done) override { return posted<bool>(loop, true, std::move(done)); }
  cache::StoreStats stats() const override { return {}; }
  Loop& loop;
};

// A registry at the other end of a path: each request has a rate of its own, all of them together another.
struct LongPath final : upstream::Fetcher {
  LongPath(Loop& l, ByteCount s) : loop(l), size(s) {}
  struct Body final : http::BodyReader {
    Body(LongPath& p, ByteCount count) : path(p), left(count) {
      path.most = std::max(path.most, ++path.open);
    }
    ~Body() override { --path.open; }
    Ticket read(std::size_t max, Done<Bytes> done) override {
      struct Read final : Pending<Bytes> {
        using Pending::Pending;
        void on_cancel() noexcept override { timer.reset(); }
        Ticket timer;
      };
      const ByteCount piece = std::min({ByteCount{max}, left, kChunk});
      const double rate = std::min(path.of_one, path.of_all / static_cast<double>(path.open));
      auto call = std::make_shared<Read>(std::move(done));
      const std::chrono::duration<double> takes(static_cast<double>(piece) / rate);
      call->timer = path.loop.after(std::chrono::duration_cast<Duration>(takes), "long path",
                                    [this, piece, call = call.get()] {
                                      left -= piece;
                                      path.given += piece;
                                      call->answer(Bytes(piece));
                                    });
      return Ticket(call);
    }
    std::optional<ByteCount> length() const override { return left; }
    LongPath& path;
    ByteCount left;
  };
  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override {
    const ByteRange range = request.range.value_or(ByteRange{0, size});
    upstream::FetchResponse response;
    response.status = 206;
    response.endpoint_name = "https://far.example";
    response.total = size;
    response.ranges_supported = true;
    response.body_range = {range.first, std::min(range.end, size)};
    response.body = std::make_unique<Body>(*this, response.body_range.size());
    return posted<upstream::FetchResponse>(loop, std::move(response), std::move(done));
  }
  Loop& loop;
  const ByteCount size;
  double of_one = 0, of_all = 0;
  std::size_t open = 0, most = 0;
  ByteCount given = 0;
};

// A site in which nobody else has anything: every unit is ours to fetch.
struct LeaseSite final : peers::Sharing {
  explicit LeaseSite(Loop& l) : loop(l) {}
  struct Share final : peers::BlobShare {
    explicit Share(Loop& l) : loop(l) {}
    Ticket find(std::uint32_t, ByteRange, Done<peers::UnitSource> done) override {
      peers::UnitSource source;
      source.is_leased = true;
      return posted<peers::UnitSource>(loop, std::move(source), std::move(done));
    }
    void progress(std::uint32_t, ByteCount) override {}
    void failed(std::uint32_t, const Error&) override {}
    void dropped(std::uint32_t) override {}
    bool arrived(std::uint32_t, const Digest&, bool) override { return true; }
    void whole_only() override {}
    bool is_whole() const override { return false; }
    void sized(std::optional<ByteCount>) override {}
    void verified(const std::vector<Digest>&) override {}
    void mismatched() override {}
    Loop& loop;
  };
  bool shares(const std::string&, const std::string&) const override { return true; }
  std::unique_ptr<peers::BlobShare> begin(const peers::BlobName&, peers::Rights) override {
    return std::make_unique<Share>(loop);
  }
  void stored(const Digest&) override {}
  void removed(const Digest&) override {}
  Loop& loop;
};

struct WindowBench {
  explicit WindowBench(ByteCount size) : path(loop, size) {
    table.share_with(&site, nullptr);
    Result<Digest> digest = Digest::parse("sha256:" + std::string(64, 'a'));
    joined = table.join(*digest, target_at({"far"}), std::nullopt, true);
  }
  // To the end of the download; the requests that ran at once at most.
  std::size_t run(double of_one, double of_all) {
    path.of_one = of_one;
    path.of_all = of_all;
    for (int i = 0; i < 60'000 && path.given < path.size; ++i) loop.advance(10ms);
    loop.advance(1s);
    CHECK(path.given == path.size);  // each byte once
    CHECK(path.open == 0);
    return path.most;
  }
  VirtualLoop loop;
  OutlineStore store{loop};
  LongPath path;
  BufferBudget budget{loop, 16_MiB};
  Metrics metrics;
  LeaseSite site{loop};
  proxy::DownloadTable table{loop, store, path, budget, metrics, {}};
  proxy::Joined joined;
};

constexpr double kMiB = 1 << 20;

}  // namespace

TEST_CASE("a download fetches more than eight units at once where each of them brings as much more") {
  WindowBench bench(2048_MiB);
  CHECK(bench.run(20 * kMiB, 2000 * kMiB) > 16);
}

TEST_CASE("a download keeps to eight units at once where more would only share the path") {
  WindowBench bench(1024_MiB);
  CHECK(bench.run(100 * kMiB, 50 * kMiB) == 8);
}
