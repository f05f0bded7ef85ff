// Who gets what from a real daemon over real sockets: users of one private repository, other users of the
// machine, pods; revocation, a WAN that is cut, a restart.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/flow/flow.h"

using namespace layerd::test;
namespace fs = std::filesystem;

namespace {

const std::string kAlice = "alice:s3cret-of-alice", kBob = "bob:s3cret-of-bob";

std::string basic(const std::string& account) { return "Basic " + base64(account); }

// A registry by a name of its own, with TLS, that gives team/app to alice and team/open to anybody.
struct Private {
  explicit Private(const std::string& more = {})
      : ca(dir / "ca"),
        upstream(ca.issue("private", "DNS:private.test")),
        name(fmt::format("private.test:{}", upstream.port())) {
    upstream.give_right("alice", "s3cret-of-alice", "team/app");
    upstream.give_right("bob", "s3cret-of-bob", "team/bobs");
    upstream.add(image, "team/app", "1");
    upstream.tag("team/open", "1", image.top);
    upstream.tag("team/bobs", "1", image.top);
    layerd.emplace(DaemonSettings{LAYERD_BINARY_DIR "/layerd", dir / "layerd", config(more)});
  }
  ~Private() {
    if (layerd->process().running()) CHECK(layerd->stop() == 0);
    CHECK(layerd->complaints() == "");
    CHECK(layerd->wrong_blobs() == std::vector<std::string>{});
    if (std::uncaught_exceptions() > 0) WARN(layerd->log());
  }
  std::string config(const std::string& more, const std::string& auth = {}) const {
    fs::create_directories(dir / "layerd");
    return fmt::format(
        "dns: {{hosts: {{private.test: 127.0.0.1}}}}\nconfigs: {{\"{}\": {{{}tls: {{ca_file: {}}}}}}}\n{}\n",
        name, auth, ca.ca_file(), more);
  }
  std::string url(const std::string& kind, const std::string& reference,
                  const std::string& repository = "team/app") const {
    return fmt::format("/v2/{}/{}/{}?ns=private.test%3A{}", repository, kind, reference, upstream.port());
  }
  std::string by_tag(const std::string& repository = "team/app") const {
    return url("manifests", "1", repository);
  }
  std::string layer(const std::string& repository = "team/app") const {
    return url("blobs", image.layers[0], repository);
  }
  ProbeReply get(const std::string& target, const std::string& authorization = {}) const {
    if (authorization.empty()) return layerd->get(target);
    return layerd->get(target, {{"Authorization", authorization}});
  }
  std::string handle(const std::string& account) const {
    const auto challenged = get(by_tag());
    REQUIRE(challenged.status == 401);
    return handle_for(layerd->port(), challenged, account);
  }
  void pull(const std::string& authorization) const {
    for (const auto& target : {by_tag(), url("manifests", image.top), layer(), url("blobs", image.config)}) {
      const auto reply = get(target, authorization);
      INFO(target << reply.status << reply.body << layerd->log());
      REQUIRE(reply.status == 200);
    }
  }
  // The status that another user of this machine gets, and all that he sees.
  Finished as_user(unsigned uid, const std::string& target, std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"setpriv",
                                   fmt::format("--reuid={}", uid),
                                   fmt::format("--regid={}", uid),
                                   "--clear-groups",
                                   "curl",
                                   "-s",
                                   "-i",
                                   "--max-time",
                                   "20"};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back(layerd->url() + target);
    return run(std::move(words));
  }

  TempDir dir{"layerd-access"};
  PrivateCa ca;
  FaultyUpstream upstream;
  std::string name;
  Image image = make_image({{3 << 20, 20000}});
  std::optional<LayerdDaemon> layerd;
};

bool says(const Finished& finished, int status) {
  return finished.output.find(fmt::format("HTTP/1.1 {} ", status)) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "of two users of one private repository only the one with the right is served, from upstream and cache",
    "[access]") {
  Private site;
  const auto alice = site.handle(kAlice), bob = site.handle(kBob), nobody = site.handle({});
  CHECK(site.get(site.by_tag(), bob).status == 403);
  CHECK(site.get(site.by_tag(), nobody).status == 403);
  site.pull(alice);
  const int asked = static_cast<int>(site.upstream.seen().size());
  CHECK(site.get(site.layer(), alice).body == site.image.blobs.at(site.image.layers[0]));
  CHECK(static_cast<int>(site.upstream.seen().size()) == asked);
  for (const auto& other : {bob, nobody, std::string("Bearer nonsense"), std::string()}) {
    for (const auto& target : {site.by_tag(), site.url("manifests", site.image.top), site.layer(),
                               site.url("tags", "list"), site.url("referrers", site.image.top)}) {
      CAPTURE(target);
      for (const auto& more :
           std::vector<std::pair<std::string, std::string>>{{"X-Plain", "1"},
                                                            {"Range", "bytes=0-9"},
                                                            {"If-None-Match", "\"" + site.image.top + "\""},
                                                            {"If-None-Match", "*"}}) {
        const auto reply = probe({site.layerd->port(), target, {{"Authorization", other}, more}});
        CHECK((reply.status == 401 || reply.status == 403));
        CHECK(reply.header("docker-content-digest").empty());
        CHECK(reply.body.size() < 2000);
        CHECK(site.layerd->head(target, {{"Authorization", other}, more}).status == reply.status);
      }
    }
  }
  // What he has under another repository is his all the same, also from the cache.
  const auto bobs = handle_for(site.layerd->port(), site.get(site.by_tag("team/bobs")), kBob);
  CHECK(site.get(site.by_tag("team/bobs"), bobs).status == 200);
  CHECK(site.get(site.layer("team/bobs"), bobs).status == 200);
  CHECK(site.upstream.count("GET", site.image.layers[0]) == 1);
}

TEST_CASE("another user of the machine gets what is open to everybody and nothing else", "[access]") {
  if (::getuid() != 0) return;
  Private site;
  site.pull(basic(kAlice));
  for (const auto& target : {site.by_tag(), site.url("manifests", site.image.top), site.layer(),
                             site.url("tags", "list"), site.url("blobs", "sha256:" + std::string(64, 'a'))}) {
    CAPTURE(target);
    for (const auto& more : std::vector<std::vector<std::string>>{
             {}, {"-I"}, {"-u", kAlice}, {"-r", "0-9"}, {"-H", "If-None-Match: *"}}) {
      const auto refused = site.as_user(12345, target, more);
      INFO(refused.output);
      CHECK(says(refused, 403));
      CHECK(refused.output.find("Docker-Content-Digest") == std::string::npos);
    }
  }
  const auto open = site.as_user(12345, site.by_tag("team/open"));
  INFO(open.output << site.layerd->log());
  CHECK(says(open, 200));
  // The admin socket is not for him either.
  const auto admin = run({"setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "curl", "-s",
                          "--unix-socket", site.layerd->socket(), "http://x/"});
  CHECK(admin.status != 0);
}

TEST_CASE("what the node has by its own credentials is for its runtimes alone", "[access]") {
  if (::getuid() != 0) return;
  Private site;
  site.layerd->configure(
      site.config("", fmt::format("auth: {{username: alice, password: s3cret-of-alice}}, ")));
  site.layerd->stop();
  site.layerd->start();
  // Also before anything is known of the repository, when the node's own credentials must not help him.
  CHECK(says(site.as_user(12345, site.by_tag()), 403));
  CHECK(site.upstream.count("HEAD", "/manifests/1") == 1);
  for (const auto& seen : site.upstream.seen()) CHECK(seen.authorization.empty());
  site.pull({});
  CHECK(says(site.as_user(12345, site.layer()), 403));
  CHECK(says(site.as_user(0, site.layer(), {"-o", "/dev/null", "-D", "-"}), 200));
  site.layerd->configure(site.config("access: {runtime_uids: [0, 12345]}",
                                     "auth: {username: alice, password: s3cret-of-alice}, "));
  site.layerd->process().send(SIGHUP);
  CHECK(eventually([&] { return says(site.as_user(12345, site.by_tag()), 200); }));
}

TEST_CASE("a pod on the host's network is none of the runtimes, although it runs as root", "[access]") {
  std::string root;
  for (const char* place : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"})
    if (fs::exists(std::string(place) + "/cgroup.procs") && ::access(place, W_OK) == 0) root = place;
  const std::string pod = fmt::format("{}/kubepods-flow-{}", root, ::getpid());
  if (root.empty() || ::getuid() != 0 || ::mkdir(pod.c_str(), 0755) != 0) {
    WARN("no cgroup can be made here");
    return;
  }
  {
    Private site;
    site.pull(basic(kAlice));
    const auto from_pod = [&](const std::string& target) {
      return run({"sh", "-c",
                  fmt::format("echo $$ > {}/cgroup.procs && exec curl -s -i -u {} '{}'", pod, kAlice,
                              site.layerd->url() + target)});
    };
    CHECK(says(from_pod(site.by_tag()), 403));
    CHECK(says(from_pod(site.by_tag("team/open")), 200));
    CHECK(site.get(site.by_tag(), basic(kAlice)).status == 200);
  }
  ::rmdir(pod.c_str());
}

TEST_CASE("nobody without the right joins a private download that runs", "[access]") {
  Private site;
  const auto alice = site.handle(kAlice), bob = site.handle(kBob);
  REQUIRE(site.get(site.by_tag(), alice).status == 200);
  Fault slow;
  slow.drip_bytes = 256 << 10;
  slow.drip_every = std::chrono::milliseconds(300);
  slow.methods = "GET";
  site.upstream.fault("/v2/team/app/blobs/" + site.image.layers[0], slow);
  Fault missing;
  missing.status = 404;
  missing.body = "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}";
  site.upstream.fault("/v2/team/open/blobs/" + site.image.layers[0], missing);
  ProbeReply whole;
  std::thread first([&] { whole = site.get(site.layer(), alice); });
  REQUIRE(eventually([&] { return site.upstream.body_bytes(site.image.layers[0]) > 0; }));
  CHECK(site.get(site.layer(), bob).status == 403);
  CHECK(site.get(site.layer()).status == 401);
  // Under a repository that is open to him, and does not have it.
  const auto elsewhere = site.get(site.layer("team/open"));
  CHECK(elsewhere.status == 404);
  CHECK(site.layerd->get("/").body.find("team/app") == std::string::npos);
  first.join();
  CHECK(whole.body == site.image.blobs.at(site.image.layers[0]));
  // And now that it is cached: the same words.
  const auto later = site.get(site.layer("team/open"));
  CHECK(later.status == 404);
  CHECK(later.body == elsewhere.body);
  CHECK(later.reason == elsewhere.reason);
}

TEST_CASE("a right that upstream takes away ends within access.grant, and upstream is then left alone",
          "[access]") {
  Private site("access: {grant: 1s}");
  const auto alice = site.handle(kAlice);
  site.pull(alice);
  site.upstream.take_right("alice", "s3cret-of-alice", "team/app");
  CHECK(eventually([&] { return site.get(site.layer(), alice).status == 403; }));
  const int asked = site.upstream.count("HEAD", "/team/app/");
  const auto refused = site.get(site.layer(), alice);
  CHECK(refused.status == 403);
  CHECK(refused.body.find("refuses team/app") != std::string::npos);
  for (int i = 0; i < 10; ++i) CHECK(site.get(site.by_tag(), alice).status == 403);
  CHECK(site.upstream.count("HEAD", "/team/app/") == asked);
  // It is refused without an upstream too, and after a restart.
  site.upstream.server().go_away();
  CHECK(site.get(site.layer(), alice).status == 403);
  std::this_thread::sleep_for(
      std::chrono::milliseconds(500));  // a crash loses the last batch (decision 0002)
  site.layerd->kill();
  site.layerd->start();
  CHECK(site.get(site.layer(), alice).status == 502);
}

TEST_CASE("with the WAN cut and after a restart who had the right keeps it, and nobody else gets it",
          "[access]") {
  Private site("access: {grant: 1s}");
  const auto alice = site.handle(kAlice), bob = site.handle(kBob);
  site.pull(alice);
  site.upstream.server().go_away();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const auto check = [&] {
    const auto tag = site.get(site.by_tag(), alice);
    INFO(tag.status << tag.body << site.layerd->log());
    CHECK(tag.status == 200);
    CHECK(tag.header("layerd-source") == "stale");
    CHECK(site.get(site.layer(), alice).body == site.image.blobs.at(site.image.layers[0]));
    CHECK(site.get(site.layer(), bob).status == 502);
    CHECK(site.get(site.layer()).status == 401);
    CHECK(site.get(site.layer("team/open")).status == 502);
  };
  check();
  CHECK(site.layerd->stop() == 0);
  site.layerd->start();
  check();
  // What lies on the disk tells nothing, and nobody else can read the key.
  struct stat info {};
  REQUIRE(::stat((site.layerd->cache_path() + "/access.key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  for (const auto& entry : fs::recursive_directory_iterator(site.layerd->cache_path()))
    if (entry.is_regular_file()) {
      const auto text = read_text(entry.path());
      CHECK(text.find("s3cret") == std::string::npos);
      CHECK(text.find(base64(kAlice)) == std::string::npos);
    }
}

TEST_CASE("with the WAN cut another user of the machine does not learn which private names are known",
          "[access]") {
  if (::getuid() != 0) return;
  Private site;
  site.pull(basic(kAlice));
  for (const auto* never_asked_for : {"team/never", "team/neither"})
    site.upstream.give_right("bob", "s3cret-of-bob", never_asked_for);
  site.upstream.server().go_away();
  for (const auto* name : {"team/never", "team/app", "team/neither"}) {
    CAPTURE(name);
    for (const auto& target : {site.by_tag(name), site.layer(name), site.url("tags", "list", name)}) {
      const auto refused = site.as_user(12345, target);
      INFO(refused.output);
      CHECK(says(refused, 502));
    }
  }
  CHECK(site.get(site.layer(), basic(kAlice)).status == 200);
}

TEST_CASE("a wrong password goes upstream once, and appears nowhere", "[access]") {
  Private site;
  const auto wrong = site.handle("alice:not-the-passw0rd");
  for (int i = 0; i < 10; ++i) {
    CHECK(site.get(site.by_tag(), wrong).status == 403);
    CHECK(site.get(site.layer(), wrong).status == 403);
  }
  int tries = 0;
  for (const auto& seen : site.upstream.seen())
    tries += seen.authorization == basic("alice:not-the-passw0rd");
  CHECK(tries == 1);
  CHECK(site.get(site.by_tag(), basic(kAlice)).status == 200);
  const auto log = site.layerd->log();
  for (const auto& secret : {std::string("passw0rd"), std::string("s3cret"), base64("alice:not-the-passw0rd"),
                             wrong.substr(7), base64(kAlice)})
    CHECK(log.find(secret) == std::string::npos);
}

TEST_CASE("the keys of `access` are read, shown and checked", "[access]") {
  Private site(
      "access: {challenge_ping: true, recheck: 1m, grant: 2m, offline_grace: 1h, "
      "runtime_uids: [0, 1000], require_client: [\"private.test:*/team/**\"]}");
  CHECK(site.get("/v2/").status == 401);
  const auto shown = site.layerd->command({"config"}).output;
  for (const char* line : {"challenge_ping: true", "recheck: 1m", "grant: 2m", "offline_grace: 1h",
                           "runtime_uids: [0, 1000]", "require_client: [\"private.test:*/team/**\"]"})
    CHECK(shown.find(line) != std::string::npos);
  site.layerd->configure(site.config("access: {runtime_uid: [0], grant: 10x, recheck: 0s}"));
  const auto checked = site.layerd->command({"config", "--check"});
  CHECK(checked.status == 2);
  for (const char* words : {"runtime_uids", "access.grant", "access.recheck"})
    CHECK(checked.output.find(words) != std::string::npos);
}
