// Two members over real loopback sockets: HttpWire at one end, PeerService with a scripted Desk at the other.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/peer_listener.h"
#include "proxy/peers/http_wire.h"
#include "proxy/peers/peer_service.h"
#include "proxy/peers/uploads.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

using namespace std::chrono_literals;
using namespace layerd::peers;

inline constexpr const char* kAsker = "127.0.0.1:5152";

// A blob that grows when the test says so, or a finished file.
struct ScriptedSource final : cache::Source {
  explicit ScriptedSource(Loop& loop_, std::string content_) : loop(loop_), content(std::move(content_)) {}
  Ticket size(Done<ByteCount> done) override {
    return loop.post([done = std::move(done), size = content.size()]() mutable { done(size); });
  }
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override {
    reads.push_back(max);
    waiter = std::make_shared<Pending<Bytes>>(std::move(done));
    at = offset;
    most = max;
    loop.post_detached([this, held = waiter] { serve(); });
    return Ticket(waiter);
  }
  FilePtr file() const override { return committed; }
  void grow(ByteCount to) {
    here = to;
    serve();
  }
  void fail(Error error) {
    broken = std::move(error);
    serve();
  }
  void serve() {
    if (!waiter || !waiter->wanted()) return;
    const auto held = waiter;
    if (broken) return std::exchange(waiter, nullptr)->answer(*broken);
    if (at >= here) return;
    waiter = nullptr;
    held->answer(Bytes::copy_of(ByteView(content).substr(at, std::min<ByteCount>(most, here - at))));
  }
  Loop& loop;
  std::string content;
  ByteCount here = 0;
  FilePtr committed;
  std::optional<Error> broken;
  std::vector<ByteCount> reads;
  std::shared_ptr<Pending<Bytes>> waiter;
  ByteCount at = 0, most = 0;
};

struct ScriptedDesk final : Desk {
  bool may_ask(const std::string&) override { return patience > 0 && patience-- > 0; }
  std::size_t patience = ~std::size_t{0};
  explicit ScriptedDesk(Loop& loop_) : loop(loop_) {}
  AskAnswer on_ask(const std::string& from, const Ask& ask) override {
    froms.push_back(from);
    asked = ask;
    return ask_answer;
  }
  ProbeAnswer on_probe(const std::string& from, const Probe& probe) override {
    froms.push_back(from);
    if (giving) return giving->probe(probe);
    return probe_answer;
  }
  WhoAnswer on_who(const std::string& from, const Who&) override {
    froms.push_back(from);
    return who_answer;
  }
  RecallAnswer on_recall(const std::string& from, const Recall& recall) override {
    froms.push_back(from);
    recalled = recall;
    return recall_answer;
  }
  void on_tell(const std::string& from, const Tell& tell) override {
    froms.push_back(from);
    told = tell;
  }
  Ticket on_get(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done) override {
    froms.push_back(from);
    got = get;
    if (giving) return giving->open(from, get, std::move(done));
    if (is_silent) return Ticket(std::make_shared<Pending<std::unique_ptr<Upload>>>(std::move(done)));
    return loop.post([this, done = std::move(done)]() mutable {
      if (refusal) return done(*refusal);
      struct Counted final : Upload {
        explicit Counted(int& running_) : running(running_) { ++running; }
        ~Counted() override { --running; }
        int& running;
      };
      auto upload = std::make_unique<Counted>(uploads);
      upload->total = source->content.size();
      upload->rights = Rights::node;
      upload->path = path;
      upload->source = source;
      done(std::unique_ptr<Upload>(std::move(upload)));
    });
  }
  Loop& loop;
  std::vector<std::string> froms, path;
  AskAnswer ask_answer;
  ProbeAnswer probe_answer;
  WhoAnswer who_answer;
  RecallAnswer recall_answer;
  std::optional<Ask> asked;
  std::optional<Tell> told;
  std::optional<Recall> recalled;
  std::optional<UnitGet> got;
  std::optional<Error> refusal;
  std::shared_ptr<ScriptedSource> source;
  Uploads* giving = nullptr;  // the real ones answer probes and gets
  int uploads = 0;
  bool is_silent = false;
};

struct WireFixture : NetLoop {
  TempDir dir;
  Metrics metrics;
  Traffic here_traffic, there_traffic;
  std::optional<net::PeerIdentity> here, there;
  std::optional<ScriptedDesk> desk;
  std::optional<PeerService> service;
  std::optional<net::PeerListener> listener;
  std::optional<HttpWire> wire;
  Member to;

  // The machine may be busy: times are long where a test is not about them.
  static HttpWireSettings patient() {
    HttpWireSettings settings;
    settings.dialer.connect = 2s;
    settings.dialer.hello = settings.answer = 4s;
    return settings;
  }
  explicit WireFixture(PeerServiceLimits limits = {}, HttpWireSettings settings = patient()) {
    write_text(dir / "secret", net::PeerSecret::make());
    REQUIRE(::chmod((dir / "secret").c_str(), 0600) == 0);
    net::PeerIdentitySettings trust;
    trust.site = "berlin";
    trust.secret_file = dir / "secret";
    here.emplace(loop, workers(), trust, kAsker, 50ms);
    there.emplace(loop, workers(), trust, "127.0.0.1:1", 50ms);
    REQUIRE(here->load());
    REQUIRE(there->load());
    desk.emplace(loop);
    service.emplace(loop, *there, *desk, there_traffic, metrics, limits);
    listener.emplace(loop, workers(), *there, metrics,
                     [this](net::ByteStreamPtr stream) { service->adopt(std::move(stream)); });
    const auto bound = listener->listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    to.address = *bound;
    to.id = bound->str();
    there->set_own(to.id);
    wire.emplace(loop, workers(), *here, here_traffic, metrics, settings);
  }
  ~WireFixture() {
    wire.reset();
    listener.reset();
    service.reset();
    desk.reset();
    here.reset();
    there.reset();
  }

  template <class T>
  Result<T> wait(const std::function<Ticket(Done<T>)>& start) {
    std::optional<Result<T>> got;
    Ticket ticket = start([&](Result<T> result) { got = std::move(result); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  Result<AskAnswer> ask(const Ask& ask) {
    return wait<AskAnswer>([&](Done<AskAnswer> done) { return wire->ask(to, ask, std::move(done)); });
  }
  Result<Ok> tell(const Tell& tell) {
    return wait<Ok>([&](Done<Ok> done) { return wire->tell(to, tell, std::move(done)); });
  }
  Result<UnitAnswer> get(const UnitGet& get) {
    return wait<UnitAnswer>([&](Done<UnitAnswer> done) { return wire->get(to, get, std::move(done)); });
  }
  Result<Bytes> read(http::BodyReader& body, std::size_t max = 256_KiB) {
    return wait<Bytes>([&](Done<Bytes> done) { return body.read(max, std::move(done)); });
  }
  // The whole body, or the error it ends with.
  Result<std::string> all(http::BodyReader& body) {
    std::string text;
    for (;;) {
      auto got = read(body);
      if (!got) return std::move(got).error();
      if (got->empty()) return text;
      text += got->view();
    }
  }
};

inline UnitName unit_name(std::uint32_t unit = 0, bool whole = false) {
  return {{"docker.io", "library/nginx", digest_of(DigestAlgorithm::sha256, "layer")}, unit, whole};
}

inline std::string noise(std::size_t size) {
  std::string text(size, '\0');
  std::uint64_t state = 42;
  for (char& c : text) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return text;
}

}  // namespace layerd::test
