// Running it: commands, signals, metrics, configurations that are wrong.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;

namespace {

constexpr const char* kBinary = LAYERD_BINARY_DIR "/layerd";

struct Filled : Flow {
  Filled() : bytes(random_bytes(100 * 1000, 5)), digest(upstream.add_blob(bytes)) {
    image = make_image({{4000}});
    upstream.add(image, "team/app", "1");
    CHECK(layerd.get(Flow::blob(digest)).body == bytes);
    CHECK(layerd.get(Flow::manifest("1")).status == 200);
    CHECK(eventually([&] { return layerd.has_blob(digest); }));
  }
  std::string bytes, digest;
  Image image;
};

Finished check_config(const std::string& text) {
  TempDir dir;
  write_text(dir / "config.yaml", text);
  return run({kBinary, "--config", dir / "config.yaml", "config", "--check"});
}

}  // namespace

TEST_CASE("health, readiness and metrics are there", "[operating]") {
  Filled flow;
  CHECK(flow.layerd.get("/healthz").status == 200);
  CHECK(flow.layerd.get("/readyz").status == 200);
  const ProbeReply metrics = flow.layerd.get("/metrics");
  CHECK(metrics.status == 200);
  CHECK(metrics.header("content-type").starts_with("text/plain"));
  CHECK(metrics.body.find("# HELP layerd_upstream_bytes_total ") != std::string::npos);
  CHECK(flow.layerd.metric("layerd_upstream_bytes_total") >= 100000);
}

TEST_CASE("status tells what the cache holds, as JSON over the local socket", "[operating]") {
  Filled flow;
  const Finished status = flow.layerd.command({"status", "--json"});
  INFO(status.output);
  CHECK(status.status == 0);
  CHECK(status.output.find("\"state\"") != std::string::npos);
  CHECK(status.output.find("serving") != std::string::npos);
  CHECK(status.output.find(flow.layerd.cache_path()) != std::string::npos);
  struct stat mode {};
  REQUIRE(stat(flow.layerd.socket().c_str(), &mode) == 0);
  CHECK((mode.st_mode & 0777) == 0660);
  flow.layerd.stop();
  CHECK(flow.layerd.command({"status", "--json"}).status == 1);
}

TEST_CASE("cache ls, verify, rm and gc do what they say", "[operating]") {
  Filled flow;
  const Finished listed = flow.layerd.command({"cache", "ls"});
  INFO(listed.output);
  CHECK(listed.status == 0);
  CHECK(listed.output.find("team/app") != std::string::npos);
  CHECK(flow.layerd.command({"cache", "verify"}).status == 0);
  CHECK(flow.layerd.command({"cache", "gc"}).status == 0);
  CHECK(flow.layerd.has_blob(flow.digest));
  const Finished removed = flow.layerd.command({"cache", "rm", flow.digest});
  INFO(removed.output);
  CHECK(removed.status == 0);
  CHECK_FALSE(flow.layerd.has_blob(flow.digest));
  CHECK(flow.layerd.command({"cache", "rm", flow.digest}).status == 1);
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
}

// Red without become_owner() in daemon/admin_access.cc: files of root would keep the daemon from its store.
TEST_CASE("cache commands of root leave nothing of root's in the store of a daemon that is stopped",
          "[operating]") {
  Filled flow;
  flow.layerd.stop();
  constexpr uid_t kOther = 65534;
  const std::filesystem::path store = flow.layerd.cache_path();
  for (auto folder = store.parent_path(); folder != "/tmp"; folder = folder.parent_path())
    REQUIRE(chmod(folder.c_str(), 0755) == 0);
  REQUIRE(chown(store.c_str(), kOther, kOther) == 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store))
    REQUIRE(chown(entry.path().c_str(), kOther, kOther) == 0);
  std::filesystem::remove(store / "journal");
  const Finished listed = flow.layerd.command({"cache", "ls", "--blobs"});
  INFO(listed.output);
  CHECK(listed.status == 0);
  CHECK(listed.output.find(flow.digest) != std::string::npos);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
    struct stat facts {};
    REQUIRE(stat(entry.path().c_str(), &facts) == 0);
    INFO(entry.path());
    CHECK(facts.st_uid == kOther);
  }
}

// rules: verify-compares
TEST_CASE("cache verify finds a damaged blob and sets it aside", "[operating]") {
  Filled flow;
  const std::string file = flow.layerd.blob_file(flow.digest);
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  std::string changed = flow.bytes;
  changed[500] ^= 1;
  write_text(file, changed);
  const Finished verified = flow.layerd.command({"cache", "verify"});
  INFO(verified.output);
  CHECK(verified.status == 1);
  CHECK(verified.output.find(flow.digest) != std::string::npos);
  CHECK_FALSE(flow.layerd.has_blob(flow.digest));
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
}

// rules: drain-waits
TEST_CASE("SIGTERM lets a running answer end and refuses new clients", "[operating]") {
  Flow flow;
  const std::string bytes = random_bytes(2 * 1024 * 1024, 6);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 2 * 1024 * 1024;
  flow.upstream.fault("/blobs/", slow);
  ProbeReply reply;
  std::thread client([&] { reply = flow.layerd.get(Flow::blob(digest)); });
  CHECK(eventually([&] { return flow.upstream.count("GET", digest) > 0; }));
  std::this_thread::sleep_for(milliseconds(200));
  flow.layerd.process().send(SIGTERM);
  client.join();
  CHECK(reply.body == bytes);
  CHECK(flow.layerd.process().wait(std::chrono::seconds(8)) == std::optional<int>(0));
}

// rules: drain-ends
TEST_CASE("an answer that outlasts the drain ends with FIN, short of its length", "[operating]") {
  Flow flow;
  const std::string bytes = random_bytes(20 * 1024 * 1024, 7);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 1024 * 1024;
  flow.upstream.fault("/blobs/", slow);
  ProbeReply reply;
  std::thread client([&] { reply = flow.layerd.get(Flow::blob(digest)); });
  CHECK(eventually([&] { return flow.upstream.count("GET", digest) > 0; }));
  std::this_thread::sleep_for(milliseconds(300));
  const auto start = std::chrono::steady_clock::now();
  flow.layerd.process().send(SIGTERM);
  client.join();
  CHECK(flow.layerd.process().wait(std::chrono::seconds(10)) == std::optional<int>(0));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(8));
  CHECK(reply.status == 200);
  CHECK_FALSE(reply.complete);
  CHECK_FALSE(reply.reset);
  CHECK(reply.body == bytes.substr(0, reply.body.size()));
}

// rules: unknown-key, key-twice, missing-file
TEST_CASE("a wrong configuration is refused with place, cause and the nearest valid thing", "[operating]") {
  const auto refused = [](const std::string& text, const std::string& word, const std::string& more = "") {
    const Finished finished = check_config(text);
    INFO(text << "\n" << finished.output);
    CHECK(finished.status == 2);
    CHECK(finished.output.find("config.yaml:") != std::string::npos);
    CHECK(finished.output.find(word) != std::string::npos);
    CHECK(finished.output.find(more) != std::string::npos);
  };
  refused("listn: 127.0.0.1:5151\n", "listn", "listen");
  refused("cache:\n  max_sise: 3\n", "max_sise", "max_size");
  refused("cache: {max_size: 20 bananas}\n", "bananas");
  refused("tags: {fresh_for: soon}\n", "soon");
  refused("mirrors: {a.test: {endpoint: [\"ftp://x\"]}}\n", "ftp");
  refused("mirrors: {a.test: {endpoint: [\"https://x\"], rewrite: {\"(\": \"y\"}}}\n", "(");
  refused("listen: [1, {2: 3}]\n", "listen");
  refused("cache: 5\n", "cache");
  refused("a: b: c\n", "config.yaml:1");
  refused("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "listen");
  const Finished missing = run({kBinary, "--config", "/nonexistent/layerd.yaml", "config", "--check"});
  CHECK(missing.status == 2);
  CHECK(missing.output.find("/nonexistent/layerd.yaml") != std::string::npos);
  CHECK(check_config("listen: 127.0.0.1:5151\n").status == 0);
}

TEST_CASE("config shows what is in force, with secrets masked", "[operating]") {
  TempDir dir;
  write_text(dir / "config.yaml", "configs: {\"r.test\": {auth: {username: robot, password: hunter2}}}\n");
  const Finished shown = run({kBinary, "--config", dir / "config.yaml", "config"});
  INFO(shown.output);
  CHECK(shown.status == 0);
  CHECK(shown.output.find("robot") != std::string::npos);
  CHECK(shown.output.find("hunter2") == std::string::npos);
}

TEST_CASE("wrong usage exits with 2", "[operating]") {
  CHECK(run({kBinary, "no-such-command"}).status == 2);
  CHECK(run({kBinary, "serve", "--no-such-option"}).status == 2);
  CHECK(run({kBinary, "--help"}).status == 0);
}

// rules: unknown-key
TEST_CASE("a bad configuration at the first start ends with 2", "[operating]") {
  TempDir dir;
  write_text(dir / "config.yaml", fmt::format("cache: {{path: {}}}\nlistn: x\n", dir / "cache"));
  CHECK(run({kBinary, "--config", dir / "config.yaml", "serve"}, std::chrono::seconds(10)).status == 2);
}

// rules: last-good
TEST_CASE("a configuration that went bad later starts from the last good one, marked degraded",
          "[operating]") {
  Filled flow;
  CHECK(flow.layerd.stop() == 0);
  const std::string good = read_text(flow.layerd.config_file());
  // The path of the store stays readable: the state folder is found, whatever else is wrong.
  write_text(flow.layerd.config_file(), good + "tagz: {}\n");
  flow.layerd.start();
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
  const Finished status = flow.layerd.command({"status", "--json"});
  INFO(status.output);
  CHECK(status.output.find("degraded") != std::string::npos);
  CHECK(status.output.find("tagz") != std::string::npos);
}

// rules: one-store-one-process
TEST_CASE("two daemons do not share a store", "[operating]") {
  Flow flow;
  TempDir dir;
  write_text(dir / "config.yaml",
             fmt::format("listen: 127.0.0.1:0\nadmin: {{socket: {}}}\ncache: {{path: {}}}\n",
                         dir / "admin.sock", flow.layerd.cache_path()));
  const Finished second = run({kBinary, "--config", dir / "config.yaml", "serve"}, std::chrono::seconds(10));
  INFO(second.output);
  CHECK(second.status == 1);
  CHECK(second.output.find(flow.layerd.cache_path()) != std::string::npos);
}

// rules: reload-keeps-old, reload-takes-new
TEST_CASE("a reload takes a changed configuration, and keeps the old one when the new one is wrong",
          "[operating]") {
  Filled flow;
  const std::string good = read_text(flow.layerd.config_file());
  write_text(flow.layerd.config_file(), good + "tagz: {}\n");
  flow.layerd.process().send(SIGHUP);
  CHECK(eventually([&] { return flow.layerd.log().find("tagz") != std::string::npos; }));
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);

  FaultyUpstream second;
  const Image other = make_image({{2000}, {"amd64"}, 9});
  second.add(other, "team/new", "1");
  std::string changed = good;
  changed.replace(changed.find(flow.upstream.url()), flow.upstream.url().size(), second.url());
  write_text(flow.layerd.config_file(), changed);
  flow.layerd.process().send(SIGHUP);
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("1", "team/new")).status == 200; }));
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
}
