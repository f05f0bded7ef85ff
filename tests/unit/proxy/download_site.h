// What the tests of shared downloads share: a scripted site and what its members hold.
#pragma once

#include <map>

#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

namespace layerd::test::sharing {

// Chunks of what a member holds, right or wrong.
class MemberBody final : public http::BodyReader {
 public:
  // drips: if not zero, a byte after so long each time.
  MemberBody(Loop& loop, std::string bytes, std::optional<ByteCount> cut, bool is_silent, Duration drips)
      : loop_(loop), bytes_(std::move(bytes)), cut_(cut), is_silent_(is_silent), drips_(drips) {}
  Ticket read(std::size_t max, Done<Bytes> done) override {
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    if (is_silent_) return Ticket(call);
    if (cut_ && at_ >= *cut_) {
      loop_.post_detached([call] { call->answer(Error{Errc::upstream_unreachable, "the member is gone"}); });
      return Ticket(call);
    }
    if (drips_ > Duration::zero()) {
      drop_ =
          loop_.after(drips_, "", [this, call] { call->answer(Bytes::copy_of(bytes_.substr(at_++, 1))); });
      return Ticket(call);
    }
    const auto piece = bytes_.substr(at_, std::min<std::size_t>(max, 64_KiB));
    at_ += piece.size();
    loop_.post_detached([call, piece] { call->answer(Bytes::copy_of(piece)); });
    return Ticket(call);
  }
  std::optional<ByteCount> length() const override { return bytes_.size(); }

 private:
  Loop& loop_;
  std::string bytes_;
  std::optional<ByteCount> cut_;
  const bool is_silent_;
  const Duration drips_;
  Ticket drop_;
  ByteCount at_ = 0;
};

struct Site final : peers::Sharing {
  struct Share final : peers::BlobShare {
    explicit Share(Site& at) : site(at) {}
    Ticket find(std::uint32_t unit, ByteRange rest, Done<peers::UnitSource> done) override {
      site.found.push_back({unit, rest});
      auto call = std::make_shared<Pending<peers::UnitSource>>(std::move(done));
      const auto answer = [this, call, unit, rest] {
        if (!call->wanted()) return;
        if (!whole && site.found.size() >= site.turns_whole_at) {
          whole = true;
          return call->answer(Error{Errc::canceled, "upstream ignores ranges for this blob"});
        }
        call->answer(site.source_of(unit, rest));
      };
      if (site.find_after == Duration::zero())
        site.loop.post_detached(answer);
      else
        site.late.push_back(site.loop.after(site.find_after, "", answer));
      site.find_after += site.find_more;
      return Ticket(call);
    }
    void progress(std::uint32_t, ByteCount) override { ++site.alive; }
    void failed(std::uint32_t unit, const Error& why) override {
      site.failures.push_back({unit, why.message});
      if (site.leaves_when_it_fails) site.from_member.erase(unit);
    }
    void dropped(std::uint32_t unit) override { site.dropped.push_back(unit); }
    bool arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) override {
      site.arrived[unit] = from_upstream;
      const bool right = !site.claims.contains(unit) || site.claims.at(unit) == sha256;
      if (!right) site.from_member.erase(unit);
      return right;
    }
    void when_wanted(Callback<void(std::uint32_t unit)> wanted) override { site.wanted = std::move(wanted); }
    ~Share() override { site.wanted = nullptr; }
    void when_taken(Callback<void(std::uint32_t unit)> taken) override { site.taken = std::move(taken); }
    void whole_only() override {
      whole = true;
      if (site.somebody_has_whole) site.from_member = {{0, ""}};
    }
    bool is_whole() const override { return whole; }
    void sized(std::optional<ByteCount> total) override { site.sized = total; }
    void verified(const std::vector<Digest>& units) override { site.proved = units; }
    void mismatched() override {
      ++site.mismatches;
      if (site.finds_liar) site.from_member = {{0, ""}, {1, ""}, {2, ""}};
    }
    Site& site;
    bool whole = false;
  };

  Site(Loop& l, const std::string& c) : loop(l), content(c) {}
  bool shares(const std::string&, const std::string&) const override { return true; }
  std::unique_ptr<peers::BlobShare> begin(const peers::BlobName&, peers::Rights) override {
    ++begun;
    if (mismatches > 0 && !finds_liar) return nullptr;
    return std::make_unique<Share>(*this);
  }
  void stored(const Digest& digest) override { stored_here.push_back(digest); }
  void removed(const Digest&) override {}

  Result<peers::UnitSource> source_of(std::uint32_t unit, ByteRange rest) {
    if (refusals > 0 && refusals-- > 0) return Error{Errc::overloaded, "too many units without a lease"};
    peers::UnitSource source;
    const auto member = from_member.find(unit);
    if (member == from_member.end()) {
      source.is_leased = true;
      return source;
    }
    source.from = peers::UnitSource::From::member;
    source.member = "10.0.0.9:5152";
    source.total = claims_total.value_or(content.size());
    source.range = {rest.first, std::min<ByteCount>(rest.end, source.total)};
    const std::string& held = member->second.empty() ? content : member->second;
    source.body =
        std::make_unique<MemberBody>(loop, held.substr(rest.first, source.range.size()), cut, silent, drips);
    if (cut) cut.reset();
    return source;
  }

  Loop& loop;
  const std::string& content;
  std::map<std::uint32_t, std::string>
      from_member;  // unit -> what the member holds for the whole blob; empty: it
  std::map<std::uint32_t, Digest> claims;
  std::optional<ByteCount> claims_total;
  std::optional<ByteCount> cut;  // the next member's body breaks off after so many bytes
  Duration find_after{};         // zero: posted
  Duration find_more{};          // what each search takes longer than the one before
  std::vector<Ticket> late;
  std::vector<Digest> stored_here;
  bool silent = false;                // members give no byte
  Duration drips{};                   // or one after so long each time
  bool leaves_when_it_fails = false;  // the member
  unsigned refusals = 0;
  bool somebody_has_whole = false;  // as this node learns that upstream ignores Range
  bool finds_liar = false;          // after a wrong digest; the others go on giving then
  std::size_t turns_whole_at = ~std::size_t{0};
  unsigned begun = 0, mismatches = 0, alive = 0;
  std::vector<std::pair<std::uint32_t, ByteRange>> found;
  std::vector<std::pair<std::uint32_t, std::string>> failures;
  std::vector<std::uint32_t> dropped;
  Callback<void(std::uint32_t unit)> taken, wanted;
  std::map<std::uint32_t, bool> arrived;
  std::optional<ByteCount> sized;
  std::vector<Digest> proved;
};

struct SharedBench : DownloadBench {
  explicit SharedBench(std::size_t size = 20_MiB) : DownloadBench(size), site(loop, content) {
    table->share_with(&site, nullptr);
  }
  ~SharedBench() {
    clients.clear();
    table.reset();
    loop.run();
  }
  Digest unit(std::uint32_t n) const {
    return digest_of(DigestAlgorithm::sha256, ByteView(content).substr(n * 8_MiB, 8_MiB));
  }
  ByteCount upstream_bytes() const { return fetcher.bytes_out(); }
  Site site;
};

inline void check_right(SharedBench& at) {
  REQUIRE(at.run());
  for (const auto& client : at.clients) {
    CHECK_FALSE(client.error);
    CHECK((client.body == at.content));
  }
  REQUIRE(at.store.committed(at.digest));
  CHECK((*at.store.committed(at.digest) == at.content));
}

// The same for one more client, while a member holds `unit` and is left as soon as it fails.
inline void check_right_beside(SharedBench& at, std::uint32_t unit) {
  at.site.from_member = {{unit, ""}};
  at.site.leaves_when_it_fails = true;
  at.join();
  check_right(at);
}

}  // namespace layerd::test::sharing
