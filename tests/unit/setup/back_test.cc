// The ways back of setup: kill -9 at every step, files that somebody else changes meanwhile, what cannot be
// put back, an interruption.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;
using layerd::Errc;

namespace {

// Runs the session in a child that is killed at its step number `steps`. False: it came to its end before.
bool kill_at(Node& node, SessionOptions options, int steps) {
  const pid_t child = ::fork();
  if (child == 0) {
    options.at_step = [left = steps]() mutable {
      if (left-- == 0) ::kill(::getpid(), SIGKILL);
    };
    ::_exit(node.session(std::move(options)).ok() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (!WIFSIGNALED(status)) REQUIRE(WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

SessionOptions undo_of(const Node& node, const std::string& runtime) {
  auto options = node.options(runtime);
  options.undo = true;
  return options;
}

// The runtime's own pull comes, but not to layerd, and somebody writes `text` to the first file meanwhile.
void spoil(ContainerdNode& node, const std::string& text) {
  node.arrives = false;
  node.during_pull = [&node, text] { node.write(kHub, text); };
}

// Layerd stands in it, but not as setup writes it: it takes a person.
const std::string kByHand = "# by hand\n[host.\"http://127.0.0.1:5151\"]\n  skip_verify = true\n";

}  // namespace

// rules: setup-puts-back-what-was-broken-off, setup-leaves-no-temporary-file
TEST_CASE("killed at any moment, the next setup puts things back, does its work and leaves nothing behind") {
  ContainerdNode node;
  // What other programs left there is theirs.
  node.write(kHub + ".layerd-new", "of somebody else");
  node.write("/etc/containerd/certs.d/docker.io/.layerd-0123456789abcdef", "of somebody else");
  const auto before = node.everything();
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  const auto done = node.everything();
  const auto records = node.records();
  REQUIRE(message_of(node.session(undo_of(node, "containerd"))) == "");
  REQUIRE(node.everything() == before);
  REQUIRE(node.records().empty());
  bool killed = true;
  int steps = 0;
  for (; killed && steps < 300; ++steps) {
    INFO("killed at step " << steps);
    killed = kill_at(node, node.options("containerd"), steps);
    // Half of the times by going back, half by going on.
    if (steps % 2 == 0) {
      REQUIRE(message_of(node.session(node.options("containerd"))) == "");
      REQUIRE(node.everything() == done);
      REQUIRE(node.records() == records);
    }
    REQUIRE(message_of(node.session(undo_of(node, "containerd"))) == "");
    REQUIRE(node.everything() == before);
    REQUIRE(node.records().empty());
  }
  CHECK(steps > 20);
  CHECK_FALSE(killed);
}

TEST_CASE("an --undo or a recovery killed at any moment is put right by the next --undo") {
  ContainerdNode node;
  const auto before = node.everything();
  bool killed = true;
  int steps = 0;
  const bool in_recovery = GENERATE(false, true);
  for (; killed && steps < 300; ++steps) {
    INFO("killed at step " << steps);
    if (in_recovery)
      REQUIRE(kill_at(node, node.options("containerd"), 16));
    else
      REQUIRE(message_of(node.session(node.options("containerd"))) == "");
    killed = kill_at(node, undo_of(node, "containerd"), steps);
    REQUIRE(message_of(node.session(undo_of(node, "containerd"))) == "");
    REQUIRE(node.everything() == before);
    REQUIRE(node.records().empty());
  }
  CHECK(steps > 5);
  CHECK_FALSE(killed);
}

TEST_CASE(
    "what was broken off for another runtime is put back first, since layerd's configuration is shared") {
  ContainerdNode node;
  node.write("/etc/rancher/k3s/registries.yaml",
             "configs:\n  \"reg.corp:5000\":\n    auth: {username: u, password: other}\n");
  const auto before = node.everything();
  bool killed = true;
  for (int steps = 0; killed && steps < 300; ++steps) {
    INFO("killed at step " << steps);
    killed = kill_at(node, node.options("k3s"), steps);
    REQUIRE(message_of(node.session(node.options("containerd"))) == "");
    REQUIRE(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
    REQUIRE(node.read("/etc/layerd/config.yaml").find("registries_file") != std::string::npos);
    REQUIRE(message_of(node.session(undo_of(node, "k3s"))) == "");
    REQUIRE(node.read("/etc/layerd/config.yaml").find("registries_file") != std::string::npos);
    REQUIRE(message_of(node.session(undo_of(node, "containerd"))) == "");
    REQUIRE(node.everything() == before);
    REQUIRE(node.records().empty());
  }
  CHECK_FALSE(killed);
}

// rules: setup-overwrites-nobody
TEST_CASE("a file that somebody changes while setup probes is not overwritten; all else is put back") {
  ContainerdNode node;
  const std::string other = "/etc/containerd/certs.d/ghcr.io/hosts.toml";
  const bool is_new = GENERATE(false, true);
  const std::string file = is_new ? other : kHub;
  const std::string text = is_new ? "server = \"https://ghcr.io\"\n" : "# theirs\n" + node.read(kHub);
  auto expected = node.everything();
  node.during_probe = [&] { node.write(file, text); };
  const auto failed = node.session(node.options("containerd"));
  CHECK(message_of(failed).find(node.path(file) +
                                " was changed by somebody else while setup was at work, and stays") == 0);
  CHECK(message_of(failed).find("; every file is as it was before") != std::string::npos);
  expected[file] = text;
  if (is_new) expected["/etc/containerd/certs.d/ghcr.io"] = "(folder)";
  CHECK(node.everything() == expected);
  CHECK(node.records().empty());
}

TEST_CASE("the way back keeps what somebody changed meanwhile and takes out only what setup added") {
  ContainerdNode node;
  auto expected = node.everything();
  node.arrives = false;
  node.during_pull = [&] {
    node.write(kHub, node.read(kHub) + "[host.\"https://second.corp\"]\n");
    node.write("/etc/layerd/config.yaml", node.read("/etc/layerd/config.yaml") + "log: {level: warn}\n");
  };
  const auto failed = node.session(node.options("containerd"));
  CHECK(message_of(failed).find("every file is as it was before") != std::string::npos);
  CHECK(node.said.find("note: " + node.path(kHub) + " was changed by somebody else meanwhile; that stays") !=
        std::string::npos);
  expected[kHub] += "[host.\"https://second.corp\"]\n";
  expected["/etc/layerd/config.yaml"] += "log: {level: warn}\n";
  CHECK(node.everything() == expected);
  CHECK(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
  CHECK(node.records().empty());
}

// rules: setup-remembers-what-it-could-not-put-back
TEST_CASE("what could not be put back stays recorded, is told by every run and tried again") {
  ContainerdNode node;
  const auto before = node.everything();
  const std::string hub = node.read(kHub);
  spoil(node, kByHand);
  const auto tells = [&](const std::string& text) {
    CHECK(text.find(node.path(kHub)) != std::string::npos);
    CHECK(text.find(node.path("/var/lib/layerd-setup/containerd/copies/1-hosts.toml")) != std::string::npos);
  };
  const auto failed = node.session(node.options("containerd"));
  CHECK(message_of(failed).find("AND NOT ALL COULD BE PUT BACK") != std::string::npos);
  CHECK(message_of(failed).find("--keep") != std::string::npos);
  tells(message_of(failed));
  CHECK(node.read("/var/lib/layerd-setup/containerd/copies/1-hosts.toml") == hub);
  CHECK(node.read(kHub) == kByHand);
  CHECK(node.read("/etc/layerd/config.yaml") == before.at("/etc/layerd/config.yaml"));

  node.arrives = true;
  node.during_pull = [] {};
  const auto again = node.session(node.options("containerd"));
  CHECK(again.error().code == Errc::local_io);
  tells(message_of(again));
  tells(message_of(node.session(undo_of(node, "containerd"))));
  tells(message_of(node.session(node.options("docker"))));
  auto dry = node.options("containerd");
  dry.dry_run = true;
  CHECK(message_of(node.session(dry)) == "");
  tells(node.said);
  dry.undo = true;
  CHECK(message_of(node.session(dry)) == "");
  tells(node.said);

  SECTION("until the copy is put in its place") {
    node.write(kHub, hub);
    CHECK(message_of(node.session(undo_of(node, "containerd"))) == "");
    CHECK(node.everything() == before);
  }
  SECTION("or layerd is taken out by hand; what else was changed stays") {
    node.write(kHub, "# by hand\n");
    CHECK(message_of(node.session(undo_of(node, "containerd"))) == "");
    CHECK(node.read(kHub) == "# by hand\n");
  }
  SECTION("or --keep says that it stays") {
    auto keep = undo_of(node, "containerd");
    keep.keep = true;
    CHECK(message_of(node.session(keep)) == "");
    CHECK(node.read(kHub) == kByHand);
  }
  CHECK(node.records().empty());
  CHECK(message_of(node.session(node.options("containerd"))) == "");
}

TEST_CASE("a file that a file that stays may name is not taken away") {
  ContainerdNode node;
  node.write("/etc/containerd/certs.d/docker.io/me.crt", "PEM");
  spoil(node, kByHand);
  // The configuration cannot be put back, since there is no file any more where one was: a folder.
  node.during_pull = [&] {
    std::filesystem::remove(node.path("/etc/layerd/config.yaml"));
    std::filesystem::create_directory(node.path("/etc/layerd/config.yaml"));
  };
  const auto options = node.options("containerd");
  CHECK(message_of(node.session(options)).find("config.yaml is no plain file") != std::string::npos);
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("harbor") != std::string::npos);
  std::filesystem::remove(node.path("/etc/layerd/config.yaml"));
  auto undo = options;
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK_FALSE(std::filesystem::exists(node.path("/etc/layerd/runtimes.yaml")));
  CHECK(node.records().empty());
}

// rules: setup-heeds-an-interruption
TEST_CASE("interrupted while it pulls, setup puts everything back and ends") {
  ContainerdNode node;
  const auto before = node.everything();
  bool interrupted = false;
  auto options = node.options("containerd");
  options.is_interrupted = [&] { return interrupted; };
  SECTION("at the probe") {
    node.during_probe = [&] { interrupted = true; };
  }
  SECTION("at the runtime's own pull") {
    node.during_pull = [&] { interrupted = true; };
  }
  CHECK(message_of(node.session(options)) == "setup was interrupted; every file is as it was before");
  CHECK(node.everything() == before);
  CHECK(node.records().empty());
}

TEST_CASE("a second setup that fails leaves no folder that was not there; an empty one would hide _default") {
  ContainerdNode node;
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  const auto before = node.everything();
  const auto records = node.records();
  node.images += "quay.io/org/new:1\n";
  node.comes_through = false;
  CHECK(message_of(node.session(node.options("containerd"))).find("no image came through") == 0);
  node.comes_through = true;
  node.arrives = false;
  CHECK(message_of(node.session(node.options("containerd"))).find("does not ask it for") !=
        std::string::npos);
  CHECK(node.everything() == before);
  CHECK(node.records() == records);
}

TEST_CASE("copies do not pile up from run to run") {
  ContainerdNode node;
  const auto before = node.everything();
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  const auto records = node.records();
  auto close = node.options("containerd");
  close.no_fallback = true;
  REQUIRE(message_of(node.session(close)) == "");
  CHECK(node.records() == records);
  REQUIRE(message_of(node.session(undo_of(node, "containerd"))) == "");
  CHECK(node.records().empty());
  CHECK(node.everything() == before);
}

TEST_CASE("two setups at a time are not possible, whatever the runtime") {
  ContainerdNode node;
  NodeLock lock;
  REQUIRE(lock.take(node.path("/var/lib/layerd-setup")));
  const auto refused = node.session(node.options("docker"));
  CHECK(message_of(refused).find("another layerd setup runs on this node") == 0);
}
