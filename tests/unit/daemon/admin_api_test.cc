// The admin socket's requests over a real store, and the `cache` commands that use them.
#include "daemon/admin_api.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "cache/disk_store.h"
#include "daemon/admin_access.h"
#include "daemon/cache_commands.h"
#include "daemon/settings.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;

namespace {

constexpr const char* kNginx = "docker.io/library/nginx";

struct Store : NetLoop {
  TempDir dir;
  Metrics metrics;
  std::unique_ptr<cache::DiskStore> store;
  std::unique_ptr<AdminApi> api;
  Digest digest = digest_of(DigestAlgorithm::sha256, "a manifest");

  Store() {
    cache::StoreSettings settings;
    settings.path = dir / "cache";
    settings.max_size = {1_GiB, -1};
    settings.min_free = {0, -1};
    settings.scrub_period = Duration::zero();
    auto opened = cache::DiskStore::open(loop, workers(), metrics, settings);
    REQUIRE(opened);
    store = std::move(*opened);
    api = std::make_unique<AdminApi>(loop, *store, store->catalog());
    keep("a manifest");
    store->catalog().put_tag(kNginx, "1.27", {digest, "application/json", 10, 1'700'000'000});
  }
  ~Store() {
    if (store) close();
  }
  void keep(const std::string& bytes) {
    std::optional<bool> kept;
    auto putting = store->put(digest_of(DigestAlgorithm::sha256, bytes), Bytes::copy_of(bytes),
                              [&](Result<Ok> result) { kept = result.ok(); });
    REQUIRE(until([&] { return kept.has_value(); }));
    REQUIRE(*kept);
  }
  void close() {
    bool closed = false;
    auto closing = store->close([&](Result<Ok>) { closed = true; });
    CHECK(until([&] { return closed; }));
    api.reset();
    store.reset();
  }
  AdminReply ask(const std::string& method, const std::string& target, bool may_change = true) {
    auto request = parse_admin_target(method, target);
    REQUIRE(request);
    request->may_change = may_change;
    std::optional<AdminReply> reply;
    auto pending = api->answer(*request, [&](AdminReply answer) { reply = std::move(answer); });
    CHECK_FALSE(reply);  // never before answer() has returned
    REQUIRE(until([&] { return reply.has_value(); }));
    return std::move(*reply);
  }
  std::string code_of(const AdminReply& reply) { return json_string(reply.body.at("error"), "code"); }
  std::string of(const std::string& verb) { return "/v1/cache/" + verb + "?digest=" + digest.str(); }
};

// Runs a command with stdout in a file; what it printed.
template <class F>
std::string printed(const TempDir& dir, int& status, F command) {
  std::fflush(stdout);
  const int kept = ::dup(1);
  const int file = ::open((dir / "out").c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  REQUIRE(::dup2(file, 1) == 1);
  status = command();
  std::fflush(stdout);
  ::dup2(kept, 1);
  ::close(kept);
  ::close(file);
  return read_text(dir / "out");
}

}  // namespace

TEST_CASE("the status is the daemon's, and unknown without a daemon") {
  Store admin;
  CHECK(admin.ask("GET", "/v1/status").status == 404);
  admin.api->set_status([] { return Json{{"state", "serving"}}; });
  const auto reply = admin.ask("GET", "/v1/status", false);
  CHECK(reply.status == 200);
  CHECK(json_string(reply.body, "state") == "serving");
  CHECK(admin.ask("GET", "/v1/waits", false).body.is_array());
}

TEST_CASE("a reload is for root and the daemon's user, and tells what the configuration is refused for") {
  Store admin;
  CHECK(admin.ask("POST", "/v1/reload").status == 404);
  int reloads = 0;
  admin.api->set_reload([&](Done<Json> done) {
    ++reloads;
    return admin.loop.post([done = std::move(done)]() mutable {
      done(Json{{"errors", {"config.yaml:1:1: no"}}});
    });
  });
  CHECK(admin.ask("POST", "/v1/reload", false).status == 403);
  CHECK(admin.ask("GET", "/v1/reload").status == 404);
  CHECK(reloads == 0);
  CHECK(admin.ask("POST", "/v1/reload").body.at("errors").size() == 1);
  CHECK(reloads == 1);
}

TEST_CASE("blobs are listed page by page, tags with whether their manifest is here") {
  Store admin;
  for (int i = 0; i < 4; ++i) admin.keep("blob " + std::to_string(i));
  std::size_t seen = 0;
  for (std::string after;;) {
    const auto page = admin.ask("GET", "/v1/cache/blobs?most=2" + after, false).body.at("blobs");
    seen += page.size();
    if (page.size() < 2) break;
    after = "&after=" + json_string(page.back(), "digest");
  }
  CHECK(seen == 5);
  auto tags = admin.ask("GET", "/v1/cache/tags", false).body.at("tags");
  REQUIRE(tags.size() == 1);
  CHECK(json_string(tags[0], "repository") == kNginx);
  CHECK(tags[0].at("cached") == true);
  CHECK(admin.ask("POST", admin.of("rm")).status == 200);
  tags = admin.ask("GET", "/v1/cache/tags", false).body.at("tags");
  CHECK(tags[0].at("cached") == false);
}

TEST_CASE("a guest changes nothing") {
  Store admin;
  for (const char* verb : {"rm", "pin", "unpin", "verify", "gc"}) {
    const auto reply = admin.ask("POST", admin.of(verb), false);
    CHECK(reply.status == 403);
    CHECK(admin.code_of(reply) == "denied");
  }
  CHECK(admin.ask("POST", std::string("/v1/cache/rm?tag=1.27&repository=") + kNginx, false).status == 403);
  CHECK(admin.store->known_size(admin.digest));
  CHECK(admin.store->catalog().tag(kNginx, "1.27"));
}

TEST_CASE("a pinned blob is not removed before it is let go") {
  Store admin;
  CHECK(admin.ask("POST", admin.of("pin")).body.at("pinned") == true);
  CHECK(admin.ask("POST", admin.of("rm")).status == 409);
  CHECK(admin.ask("POST", admin.of("unpin")).body.at("pinned") == false);
  CHECK(admin.ask("POST", admin.of("verify")).body.at("ok") == true);
  CHECK(admin.ask("POST", admin.of("rm")).body.at("removed") == true);
  CHECK_FALSE(admin.store->known_size(admin.digest));
  for (const char* verb : {"rm", "pin", "verify"}) CHECK(admin.ask("POST", admin.of(verb)).status == 404);
  CHECK(json_int(admin.ask("POST", "/v1/cache/gc").body, "freed_bytes", -1) == 0);
}

TEST_CASE("a tag is forgotten by name, once") {
  Store admin;
  const std::string target = std::string("/v1/cache/rm?tag=1.27&repository=docker.io%2Flibrary%2Fnginx");
  CHECK(admin.ask("POST", target).body.at("removed") == true);
  CHECK(admin.ask("POST", target).status == 404);
  CHECK(admin.store->known_size(admin.digest));
}

TEST_CASE("bad targets are refused by name") {
  Store admin;
  CHECK_FALSE(parse_admin_target("GET", "/v1/cache/blobs?after=%zz"));
  CHECK(admin.ask("GET", "/v1/cache/blobs?after=sha256:short").status == 400);
  CHECK(admin.ask("POST", "/v1/cache/rm?digest=..%2F..%2Fetc%2Fpasswd").status == 400);
  CHECK(admin.ask("POST", "/v1/cache/rm").status == 400);
  CHECK(admin.ask("POST", "/v1/cache/burn").status == 404);
  CHECK(admin.ask("GET", "/v1/cache/rm").status == 404);
  CHECK(admin.ask("GET", "/").status == 404);
  CHECK(admin.ask("DELETE", "/v1/cache/blobs").status == 405);
}

TEST_CASE("the cache commands work on the store when no daemon runs") {
  Store filled;
  const std::string digest = filled.digest.str();
  filled.close();
  Settings settings;
  settings.cache_path = filled.dir / "cache";
  settings.cache_min_free = {};
  settings.admin_socket = filled.dir / "nobody.sock";
  auto access = open_admin_access(settings);
  REQUIRE(access);
  int status = -1;
  const auto run = [&](auto command) { return printed(filled.dir, status, command); };
  auto text = run([&] { return cache_ls(**access, false, false); });
  CHECK(status == 0);
  CHECK(text.find("docker.io/library/nginx:1.27") != std::string::npos);
  CHECK(text.find("cached") != std::string::npos);
  text = run([&] { return cache_ls(**access, true, true); });
  CHECK(parse_json(text)->at("blobs")[0].at("digest") == digest);
  text = run([&] { return cache_verify(**access, {}, true); });
  CHECK(status == 0);
  CHECK(json_int(*parse_json(text), "verified") == 1);
  run([&] { return cache_pin(**access, {"nginx:1.27"}, true); });
  CHECK(status == 2);
  text = run([&] { return cache_rm(**access, {"nginx:1.27"}); });
  CHECK(status == 0);
  CHECK(text == "removed nginx:1.27\n");
  text = run([&] { return cache_ls(**access, true, false); });
  CHECK(text.find(digest) == std::string::npos);  // its only manifest went with it
  run([&] { return cache_rm(**access, {"nginx:1.27", "no digest"}); });
  CHECK(status == 1);
}

TEST_CASE("a damaged blob fails verification and the command") {
  Store filled;
  filled.close();
  const std::string hex = filled.digest.hex();
  write_text(filled.dir / ("cache/blobs/sha256/" + hex.substr(0, 2) + "/" + hex), "A manifest");
  Settings settings;
  settings.cache_path = filled.dir / "cache";
  settings.cache_min_free = {};
  settings.admin_socket.clear();
  auto access = open_admin_access(settings);
  REQUIRE(access);
  int status = -1;
  const auto text = printed(filled.dir, status, [&] { return cache_verify(**access, {}, false); });
  CHECK(status == 1);
  CHECK(text.find("bad: " + filled.digest.str()) != std::string::npos);
}
