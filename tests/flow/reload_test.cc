// A configuration that changes while the daemon runs: taken by itself, and a thousand times under load.
#include <atomic>
#include <filesystem>
#include <fstream>

#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTaken = "layerd_config_loads_total{result=\"taken\"}";
constexpr const char* kRefused = "layerd_config_loads_total{result=\"refused\"}";

std::string with_mirror(const std::string& host, const std::string& url) {
  return fmt::format("mirrors: {{{}: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n", host, url);
}

// Memory of its own, in KiB; ASan's included.
long private_kib(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::atol(line.c_str() + 8);
  return -1;
}

// More of an environment variable of options, for the processes started while it lives.
class SetVariable {
 public:
  SetVariable(const char* name, const std::string& more) : name_(name) {
    if (const char* value = std::getenv(name)) before_ = value;
    ::setenv(name, before_.empty() ? more.c_str() : (before_ + ":" + more).c_str(), 1);
  }
  ~SetVariable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }
  SetVariable(const SetVariable&) = delete;
  SetVariable& operator=(const SetVariable&) = delete;

 private:
  const char* name_;
  std::string before_;
};

}  // namespace

TEST_CASE("a changed registries.yaml is live by itself, also when kubernetes swaps the link to it",
          "[reload]") {
  TempDir mount;
  FaultyUpstream second;
  const Image image = make_image({{2000}, {"amd64"}, 3});
  second.add(image, "team/app", "1");
  fs::create_directories(mount / "..1");
  fs::create_symlink("..1", mount / "..data");
  fs::create_symlink("..data/registries.yaml", mount / "registries.yaml");
  write_text(mount / "..1/registries.yaml", with_mirror("other.test", "http://127.0.0.1:1"));
  Flow flow({fmt::format("registries_file: {}\n", mount / "registries.yaml")});
  const std::string asked = "/v2/team/app/manifests/1?ns=third.test";
  CHECK(flow.layerd.get(asked).status != 200);

  write_text(mount / "..1/registries.yaml", with_mirror("third.test", second.url()));
  CHECK(eventually([&] { return flow.layerd.get(asked).status == 200; }));

  fs::create_directories(mount / "..2");
  write_text(mount / "..2/registries.yaml", with_mirror("fourth.test", second.url()));
  fs::create_symlink("..2", mount / "..fresh");
  fs::rename(mount / "..fresh", mount / "..data");
  CHECK(eventually([&] { return flow.layerd.get("/v2/team/app/manifests/1?ns=fourth.test").status == 200; }));
  CHECK(flow.layerd.metric(kTaken) == 2);
}

TEST_CASE("a file that went bad changes nothing, is reported, and is taken by itself once it is mended",
          "[reload]") {
  Flow flow;
  const Image image = make_image({{2000}, {"amd64"}, 3});
  flow.upstream.add(image, "team/app", "1");
  const std::string good = read_text(flow.layerd.config_file());
  write_text(flow.layerd.config_file(), good + "tagz: {}\n");
  REQUIRE(eventually([&] { return flow.layerd.metric(kRefused) == 1; }));
  CHECK(flow.layerd.metric("layerd_config_refused") == 1);
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  const Finished status = flow.layerd.command({"status", "--json"});
  CHECK(status.output.find("tagz") != std::string::npos);
  CHECK(flow.layerd.log().find("event=config_refused") != std::string::npos);
  fs::remove(flow.layerd.config_file());
  REQUIRE(eventually([&] { return flow.layerd.metric(kRefused) == 2; }));
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  write_text(flow.layerd.config_file(), good + "tags: {fresh_for: 7s}\n");
  REQUIRE(eventually([&] { return flow.layerd.metric(kTaken) == 1; }));
  CHECK(flow.layerd.metric("layerd_config_refused") == 0);
}

TEST_CASE("a pull that runs keeps what it started with when its registry is configured elsewhere",
          "[reload]") {
  Flow flow;
  FaultyUpstream second;
  const Image image = make_image({{1000 * 1000}});
  flow.upstream.add(image, "team/app", "1");
  Fault slow;
  slow.bytes_per_second = 400 * 1000;
  slow.methods = "GET";
  flow.upstream.fault("/blobs/" + image.layers[0], slow);
  REQUIRE(flow.layerd.get(Flow::manifest("1")).status == 200);
  ProbeReply running;
  std::thread pull([&] { running = flow.layerd.get(Flow::blob(image.layers[0])); });
  REQUIRE(eventually([&] { return flow.upstream.count("GET", "/blobs/" + image.layers[0]) > 0; }));
  flow.layerd.configure(with_mirror("registry.test", second.url()) + "tags: {fresh_for: 0s}\n");
  CHECK(eventually([&] { return flow.layerd.metric(kTaken) >= 1; }));
  // Who asks now is sent to the new place.
  CHECK(flow.layerd.get(Flow::manifest("2")).status == 404);
  CHECK(second.count("GET", "/manifests/2") + second.count("HEAD", "/manifests/2") > 0);
  CHECK(flow.upstream.count("GET", "/manifests/2") + flow.upstream.count("HEAD", "/manifests/2") == 0);
  pull.join();
  CHECK(running.body == image.blobs.at(image.layers[0]));
  CHECK(second.count("GET", "/blobs/") == 0);
}

TEST_CASE("a thousand reloads under 32 parallel pulls fail no request and keep no memory", "[reload]") {
  // What ASan keeps of freed memory would hide the rest.
  const SetVariable small("ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=16");
  Flow flow;
  const Image image = make_image({{2000, 300'000, 40'000}});
  flow.upstream.add(image, "team/app", "1");
  std::vector<std::string> targets = {Flow::manifest("1")};
  for (const auto& layer : image.layers) targets.push_back(Flow::blob(layer));
  const std::string good = read_text(flow.layerd.config_file());
  std::atomic<bool> enough{false};
  std::atomic<int> pulls{0}, failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 32; ++i) {
    clients.emplace_back([&, i] {
      for (int turn = i; !enough; ++turn) {
        // One in eight is of a repository nobody has asked for yet: it goes to the upstream.
        const bool is_new = turn % 8 == 0;
        const auto target = is_new ? Flow::manifest("1", fmt::format("new/r{}-{}", i, turn))
                                   : targets[static_cast<std::size_t>(turn) % targets.size()];
        if (is_new) flow.upstream.add(image, fmt::format("new/r{}-{}", i, turn), "1");
        const ProbeReply reply = flow.layerd.get(target);
        if (reply.status != 200 || !reply.complete) ++failed;
        ++pulls;
        std::this_thread::sleep_for(milliseconds(150));
      }
    });
  }
  const auto reload_to = [&](int count) {
    for (int taken = static_cast<int>(flow.layerd.metric(kTaken)); taken < count;) {
      flow.layerd.process().send(SIGHUP);
      const int before = taken;
      if (!eventually([&] { return (taken = static_cast<int>(flow.layerd.metric(kTaken))) > before; }))
        return;
    }
  };
  reload_to(400);
  const long early = private_kib(flow.layerd.process().pid());
  // Every other time something else is in the file.
  write_text(flow.layerd.config_file(), good + "tags: {fresh_for: 9s}\n");
  reload_to(1000);
  const long late = private_kib(flow.layerd.process().pid());
  enough = true;
  for (auto& client : clients) client.join();
  INFO(pulls << " pulls, RssAnon " << early << " KiB after 400 reloads, " << late << " KiB after 1000");
  CHECK(flow.layerd.metric(kTaken) >= 1000);
  CHECK(failed == 0);
  CHECK(pulls > 500);
  CHECK(flow.layerd.metric(kRefused) == 0);
  CHECK(late - early < 6 * 1024);
}
