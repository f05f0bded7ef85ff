// A Site on virtual time whose members are scripted: what they answer is set by the test.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/peers/site.h"
#include "tests/support/catch.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

inline Digest digest(std::string_view of) { return digest_of(DigestAlgorithm::sha256, of); }
inline std::string node(int number) { return "10.0.0." + std::to_string(number) + ":5152"; }
inline const peers::BlobName kBlob{"docker.io", "library/nginx", digest("layer")};
inline peers::UnitName unit_name(std::uint32_t unit = 0) { return {kBlob, unit, false}; }

// Bytes a test gives when it likes.
class ScriptedBody final : public http::BodyReader {
 public:
  struct Tap {
    std::shared_ptr<Pending<Bytes>> reading;
    bool is_held = true;
    void give(ByteCount bytes) {
      if (auto read = std::move(reading)) read->answer(Bytes(bytes));
    }
    void fail(Error why) {
      if (auto read = std::move(reading)) read->answer(std::move(why));
    }
  };
  explicit ScriptedBody(std::shared_ptr<Tap> tap) : tap_(std::move(tap)) {}
  ~ScriptedBody() override { tap_->is_held = false; }
  Ticket read(std::size_t, Done<Bytes> done) override {
    tap_->reading = std::make_shared<Pending<Bytes>>(std::move(done));
    return Ticket(tap_->reading);
  }
  std::optional<ByteCount> length() const override { return std::nullopt; }

 private:
  std::shared_ptr<Tap> tap_;
};

class ScriptedWire final : public peers::Wire {
 public:
  explicit ScriptedWire(VirtualLoop& loop) : loop_(loop) {}

  // By default nobody is there: refused after a millisecond.
  std::function<Result<peers::AskAnswer>(const std::string& to, const peers::Ask&)> on_ask;
  std::function<Result<peers::ProbeAnswer>(const std::string& to, const peers::Probe&)> on_probe;
  std::function<Result<peers::WhoAnswer>(const std::string& to, const peers::Who&)> on_who;
  std::function<Result<peers::RecallAnswer>(const std::string& to, const peers::Recall&)> on_recall;
  std::function<Result<Ok>(const std::string& to, const peers::Tell&)> on_tell =
      [](const std::string&, const peers::Tell&) { return Result<Ok>(Ok{}); };
  // The error, or nothing: a stream begins, to be found in `taps`.
  std::function<std::optional<Error>(const std::string& to, const peers::UnitGet&)> on_get;
  ByteCount total = 100_MiB;
  std::map<std::string, std::vector<std::string>> paths;  // of those who give
  std::map<std::string, Duration> delays;

  std::vector<std::string> log;  // "ask 10.0.0.1:5152"
  std::vector<std::pair<std::string, peers::Tell>> tells;
  std::vector<std::pair<std::string, peers::Ask>> asks;
  std::vector<std::pair<std::string, peers::UnitGet>> gets;
  std::map<std::string, std::shared_ptr<ScriptedBody::Tap>> taps;  // the last stream of each

  Ticket ask(const peers::Member& to, const peers::Ask& ask, Done<peers::AskAnswer> done) override {
    log.push_back("ask " + to.id);
    asks.emplace_back(to.id, ask);
    return later<peers::AskAnswer>(to.id, std::move(done), on_ask, ask);
  }
  Ticket probe(const peers::Member& to, const peers::Probe& probe, Done<peers::ProbeAnswer> done) override {
    log.push_back("probe " + to.id);
    return later<peers::ProbeAnswer>(to.id, std::move(done), on_probe, probe);
  }
  Ticket who(const peers::Member& to, const peers::Who& who, Done<peers::WhoAnswer> done) override {
    return later<peers::WhoAnswer>(to.id, std::move(done), on_who, who);
  }
  Ticket recall(const peers::Member& to, const peers::Recall& recall,
                Done<peers::RecallAnswer> done) override {
    log.push_back("recall " + to.id);
    return later<peers::RecallAnswer>(to.id, std::move(done), on_recall, recall);
  }
  Ticket tell(const peers::Member& to, const peers::Tell& tell, Done<Ok> done) override {
    tells.emplace_back(to.id, tell);
    return later<Ok>(to.id, std::move(done), on_tell, tell);
  }
  Ticket get(const peers::Member& to, const peers::UnitGet& get, Done<peers::UnitAnswer> done) override {
    log.push_back("get " + to.id);
    gets.emplace_back(to.id, get);
    auto pending = std::make_shared<Timed<peers::UnitAnswer>>(std::move(done));
    pending->timer = loop_.after(delay(to.id), "", [this, id = to.id, get, self = pending.get()] {
      const auto why = on_get ? on_get(id, get) : std::optional<Error>(nobody());
      if (why) return self->answer(*why);
      peers::UnitAnswer answer;
      answer.total = total;
      answer.range = {get.range.first, std::min(get.range.end, total)};
      answer.path = paths[id];
      auto tap = taps[id] = std::make_shared<ScriptedBody::Tap>();
      answer.body = std::make_unique<ScriptedBody>(tap);
      self->answer(std::move(answer));
    });
    return Ticket(std::move(pending));
  }

  std::size_t count(const std::string& line) const {
    std::size_t count = 0;
    for (const auto& one : log) count += one == line;
    return count;
  }
  static Error nobody() { return {Errc::upstream_unreachable, "connection refused"}; }

 private:
  template <class T>
  struct Timed final : Pending<T> {
    using Pending<T>::Pending;
    void on_cancel() noexcept override { timer.reset(); }
    Ticket timer;
  };
  Duration delay(const std::string& id) const {
    const auto at = delays.find(id);
    return at == delays.end() ? std::chrono::milliseconds(1) : at->second;
  }
  template <class T, class Handler, class Message>
  Ticket later(const std::string& id, Done<T> done, const Handler& handler, Message message) {
    auto pending = std::make_shared<Timed<T>>(std::move(done));
    pending->timer = loop_.after(delay(id), "", [id, &handler, message, self = pending.get()] {
      self->answer(handler ? handler(id, message) : Result<T>(nobody()));
    });
    return Ticket(std::move(pending));
  }

  VirtualLoop& loop_;
};

class ScriptedShelf final : public peers::Shelf {
 public:
  explicit ScriptedShelf(VirtualLoop& loop) : loop_(loop) {}
  std::optional<Held> here;
  std::vector<Digest> hashes, all;

  std::optional<Held> held(const peers::BlobName&, ByteRange) override { return here; }
  peers::Rights rights(const std::string&, const std::string&) override { return peers::Rights::open; }
  Ticket open(const peers::BlobName&, Done<cache::SourcePtr> done) override {
    struct Sized final : cache::Source {
      explicit Sized(VirtualLoop& loop_, std::optional<ByteCount> total_) : loop(loop_), total(total_) {}
      Ticket size(Done<ByteCount> done_) override {
        auto pending = std::make_shared<Pending<ByteCount>>(std::move(done_));
        if (total) loop.post_detached([pending, this_total = *total] { pending->answer(this_total); });
        return Ticket(std::move(pending));
      }
      Ticket read(ByteCount, ByteCount, Done<Bytes>) override { return {}; }
      VirtualLoop& loop;
      std::optional<ByteCount> total;
    };
    auto pending = std::make_shared<Pending<cache::SourcePtr>>(std::move(done));
    auto source = std::make_shared<Sized>(loop_, here ? here->total : std::nullopt);
    loop_.post_detached([pending, source] { pending->answer(cache::SourcePtr(source)); });
    return Ticket(std::move(pending));
  }
  std::vector<Digest> units(const Digest&) override { return hashes; }
  peers::RecallAnswer recall(const peers::Recall&) override { return {}; }
  std::vector<Digest> list(std::optional<Digest> after, std::size_t most) override {
    std::vector<Digest> page;
    for (const auto& one : all)
      if ((!after || one > *after) && page.size() < most) page.push_back(one);
    return page;
  }

 private:
  VirtualLoop& loop_;
};

// We are node 1; the others of the list are there or not as the wire says.
struct SiteBench {
  enum class Greets : std::uint8_t { nobody, all };
  explicit SiteBench(int members = 4, peers::SiteSettings settings = {}, Greets greets = Greets::nobody)
      : site(
            loop, wire, shelf, metrics, greeting(std::move(settings), greets),
            [this](const std::string&, const std::string&) { return is_shared; }, 5) {
    list(members);
  }
  // Tests of what a pull asks would count what comes beside it.
  static peers::SiteSettings greeting(peers::SiteSettings settings, Greets greets) {
    if (greets == Greets::nobody) settings.greet_every = Duration::zero();
    return settings;
  }
  void list(int members) {
    std::vector<peers::Member> all;
    for (int i = 1; i <= members; ++i) {
      all.emplace_back();
      all.back().id = node(i);
    }
    site.set_members(std::make_shared<const peers::MemberList>(std::move(all), node(1)));
  }
  // A unit from `from` on which members[0] coordinates, by the hash over `members` nodes.
  std::uint32_t unit_of(int coordinator, int members = 4, std::uint32_t from = 0) const;

  struct Found {
    std::optional<Result<peers::UnitSource>> result;
    Ticket ticket;
    bool is_upstream() const {
      return result && result->ok() && (*result)->from == peers::UnitSource::From::upstream;
    }
    bool is_member(const std::string& id) const {
      return result && result->ok() && (*result)->from == peers::UnitSource::From::member &&
             (*result)->member == id;
    }
  };
  std::unique_ptr<Found> find(peers::BlobShare& share, std::uint32_t unit, ByteCount have = 0) {
    auto found = std::make_unique<Found>();
    found->ticket =
        share.find(unit, {unit * peers::kUnit + have, (unit + 1) * peers::kUnit},
                   [to = found.get()](Result<peers::UnitSource> source) { to->result = std::move(source); });
    return found;
  }
  std::unique_ptr<peers::BlobShare> begin() { return site.begin(kBlob, peers::Rights::open); }

  VirtualLoop loop;
  ScriptedWire wire{loop};
  ScriptedShelf shelf{loop};
  Metrics metrics;
  bool is_shared = true;
  peers::Site site;
};

// What members answer.
inline peers::AskAnswer from(std::vector<std::string> sources) {
  peers::AskAnswer answer;
  answer.kind = peers::AskAnswer::Kind::from;
  answer.sources = std::move(sources);
  return answer;
}
inline peers::AskAnswer fetch() {
  peers::AskAnswer answer;
  answer.kind = peers::AskAnswer::Kind::fetch;
  answer.lease = std::chrono::seconds(10);
  return answer;
}
inline peers::ProbeAnswer free_slot(unsigned load, ByteCount have = 0, bool complete = false,
                                    ByteCount rate = 0) {
  return {load, true, have, complete, {}, rate};
}
// Everybody is there, knows nobody who holds the blob, and gives.
inline void everybody_answers(SiteBench& bench, peers::AskAnswer answer) {
  bench.wire.on_ask = [answer](const std::string&, const peers::Ask&) { return answer; };
  bench.wire.on_who = [](const std::string&, const peers::Who&) { return peers::WhoAnswer{}; };
  bench.wire.on_probe = [](const std::string&, const peers::Probe&) { return free_slot(0); };
  bench.wire.on_get = [](const std::string&, const peers::UnitGet&) { return std::nullopt; };
}

// A unit that is looked for, and the share it is of.
struct Sought {
  std::unique_ptr<peers::BlobShare> share;
  std::uint32_t unit = 0;
  std::unique_ptr<SiteBench::Found> found;
};
// Everybody answers so; a share begins, its first unit that node `coordinator` coordinates is looked for, and
// 100 ms pass.
inline Sought seek(SiteBench& bench, peers::AskAnswer answer, int coordinator = 2) {
  everybody_answers(bench, std::move(answer));
  Sought sought{bench.begin(), bench.unit_of(coordinator), nullptr};
  sought.found = bench.find(*sought.share, sought.unit);
  bench.loop.advance(std::chrono::milliseconds(100));
  return sought;
}

// A stream that is read as fast as the test gives.
struct Reading {
  explicit Reading(peers::UnitSource& source) : body(*source.body) { next(); }
  void next() {
    ticket = body.read(65536, [this](const Result<Bytes>& bytes) {
      if (!bytes) {
        left = true;
        why = bytes.error();
        return;
      }
      have += bytes->size();
      next();
    });
  }
  http::BodyReader& body;
  bool left = false;
  std::optional<Error> why;
  ByteCount have = 0;
  Ticket ticket;
};

// 10 MB/s, or other pieces every 100 ms, for two seconds, so that we know what fast is.
inline void once_fast(SiteBench& bench, peers::BlobShare& share, std::uint32_t unit,
                      ByteCount piece = 1_MiB) {
  auto found = bench.find(share, unit);
  bench.loop.advance(std::chrono::milliseconds(100));
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  for (int i = 0; i < 20; ++i) {
    bench.wire.taps[node(3)]->give(piece);
    bench.loop.advance(std::chrono::milliseconds(100));
  }
}

}  // namespace layerd::test
