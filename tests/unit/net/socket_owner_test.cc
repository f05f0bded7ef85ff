// Who connects, as this kernel says it of real sockets.
#include "proxy/net/socket_owner.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "proxy/net/address.h"
#include "proxy/net/cgroups.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::net;
namespace fs = std::filesystem;

namespace {

// A listening socket, and who connects to it.
struct Line {
  explicit Line(int family = AF_INET) : listener(::socket(family, SOCK_STREAM, 0)) {
    if (family == AF_INET) {
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    } else {
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_addr = in6addr_loopback;
      REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    }
    REQUIRE(::listen(listener.get(), 4) == 0);
    length = sizeof where;
    REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &length) == 0);
  }
  int connect() const {
    const int fd = ::socket(where.ss_family, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&where), length) != 0) ::_exit(9);
    return fd;
  }
  void accept() {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    accepted.reset(::accept(listener.get(), reinterpret_cast<sockaddr*>(&from), &size));
    REQUIRE(accepted.is_open());
    peer = address_of(from);
    local = address_of(where);
  }

  Fd listener, accepted;
  sockaddr_storage where{};
  socklen_t length = 0;
  Address peer, local;
};

// A process that connects as another user, perhaps in another cgroup, and waits to be told to go on.
class Client {
 public:
  Client(const Line& line, uid_t uid, const std::string& cgroup = {}) {
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(pipe[1]);
      if (!cgroup.empty()) std::ofstream(cgroup + "/cgroup.procs") << ::getpid();
      if (uid != ::getuid() && ::setuid(uid) != 0) ::_exit(8);
      const int fd = line.connect();
      char end;
      [[maybe_unused]] const auto got = ::read(pipe[0], &end, 1);
      ::close(fd);
      ::_exit(0);
    }
    ::close(pipe[0]);
    hold_.reset(pipe[1]);
  }
  ~Client() { leave(); }
  void leave() {
    hold_.reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  Fd hold_;
};

std::optional<CgroupKind> looked_up(test::NetLoop& loop, KernelCgroups& cgroups, std::uint64_t id) {
  std::optional<CgroupKind> told;
  const auto asking = cgroups.look_up(id, [&](Result<CgroupKind> answer) { told = *answer; });
  loop.until([&] { return told.has_value(); });
  return told;
}

std::uint64_t number_of(const std::string& folder) {
  struct stat info {};
  return ::stat(folder.c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

TEST_CASE("the kernel tells which user holds the other end of a connection") {
  KernelSocketOwners owners;
  REQUIRE(owners.works());
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    Line line(family);
    const Fd own(line.connect());
    line.accept();
    auto owner = owners.find(line.peer, line.local);
    REQUIRE(owner);
    CHECK(owner->uid == ::getuid());
    if (::getuid() != 0) continue;
    Line other(family);
    Client client(other, 12345);
    other.accept();
    owner = owners.find(other.peer, other.local);
    REQUIRE(owner);
    CHECK(owner->uid == 12345);
  }
}

TEST_CASE("an IPv4 client of a listener for both kinds is known as well") {
  KernelSocketOwners owners;
  Line line;
  const Fd own(line.connect());
  line.accept();
  line.peer.host = "::ffff:" + line.peer.host;
  line.local.host = "::ffff:" + line.local.host;
  CHECK(owners.find(line.peer, line.local));
}

// rules: orphan-is-nobodys
TEST_CASE("nobody is the owner of a connection that nobody holds, or that is not there") {
  KernelSocketOwners owners;
  Line line;
  {
    // The kernel says "root" of a socket whose process has let go of it.
    Client client(line, ::getuid() == 0 ? 12345 : ::getuid());
    line.accept();
    REQUIRE(owners.find(line.peer, line.local));
    client.leave();
    CHECK_FALSE(owners.find(line.peer, line.local));
  }
  // A listening socket at the client's port is none either.
  CHECK_FALSE(owners.find(line.local, {"127.0.0.1", 1, false}));
  CHECK_FALSE(owners.find({"192.0.2.7", 40000, false}, line.local));
  CHECK_FALSE(owners.find({"no address", 1, false}, line.local));
}

TEST_CASE("a path tells whether a cgroup is that of a container") {
  const std::string id(64, 'a');
  struct Row {
    std::string path, own;
    bool is_container;
  };
  const std::vector<Row> rows{
      {"/", "/system.slice/layerd.service", false},
      {"/system.slice/containerd.service", "/system.slice/layerd.service", false},
      {"/system.slice/k3s.service", "/system.slice/layerd.service", false},
      {"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope", "/", true},
      {"/kubepods/besteffort/pod1/" + id, "/system.slice/layerd.service", true},
      {"/kubepods", "/", true},
      {"/system.slice/docker-" + id + ".scope", "/system.slice/layerd.service", true},
      {"/machine.slice/libpod-" + id + ".scope/container", "/", true},
      {"/docker/" + id.substr(1), "/", false},
      {"/user.slice/user-1000.slice/session-2.scope", "/", false},
      // A whole node in a container: what we share with it does not count.
      {"/docker/" + id + "/system.slice/containerd.service", "/docker/" + id + "/system.slice/layerd.service",
       false},
      {"/docker/" + id + "/kubelet/kubepods/pod1/" + id, "/docker/" + id + "/system.slice/layerd.service",
       true},
      // Ourselves in a pod: another pod is another one.
      {"/kubepods/pod2/" + id, "/kubepods/pod1/" + id, true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.path, row.own);
    CHECK(is_container_cgroup(row.path, row.own) == row.is_container);
  }
}

TEST_CASE("a connection from a pod's cgroup is told from one of the same user outside") {
  // Needs a unified hierarchy that this test may add groups to.
  std::string root;
  for (const char* place : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"})
    if (fs::exists(std::string(place) + "/cgroup.procs") && ::access(place, W_OK) == 0) root = place;
  if (root.empty() || ::getuid() != 0) {
    WARN("no unified cgroup hierarchy can be written here");
    return;
  }
  const std::string base = root + "/kubepods-layerd-test-" + std::to_string(::getpid());
  const std::string pod = base + "/pod1";
  const std::string service = root + "/layerd-test-" + std::to_string(::getpid()) + ".service";
  if (::mkdir(base.c_str(), 0755) != 0 || ::mkdir(pod.c_str(), 0755) != 0 ||
      ::mkdir(service.c_str(), 0755) != 0) {
    WARN("no cgroup can be made here");
    return;
  }
  {
    test::NetLoop loop;
    Metrics metrics;
    KernelCgroups cgroups(loop.loop, loop.workers(), metrics);
    KernelSocketOwners owners;
    for (const auto& group : {pod, service}) {
      CAPTURE(group);
      Line line;
      Client client(line, 0, group);
      line.accept();
      const auto owner = owners.find(line.peer, line.local);
      REQUIRE(owner);
      CHECK(owner->uid == 0);
      REQUIRE(owner->cgroup != 0);
      CHECK_FALSE(cgroups.kind(owner->cgroup));  // not known yet
      CHECK(looked_up(loop, cgroups, owner->cgroup) ==
            (group == pod ? CgroupKind::container : CgroupKind::plain));
      CHECK(cgroups.kind(owner->cgroup) == (group == pod ? CgroupKind::container : CgroupKind::plain));
    }
    // A group that is gone, if all of the tree is to be seen here.
    struct stat info {};
    REQUIRE(::stat(root.c_str(), &info) == 0);
    CHECK(looked_up(loop, cgroups, 0x7fffffffffff) ==
          (info.st_ino == 1 ? CgroupKind::container : CgroupKind::unreadable));
  }
  for (const auto& group : {pod, base, service}) ::rmdir(group.c_str());
}

// rules: unknown-is-not-outside
TEST_CASE("a cgroup that the kernel names and that cannot be read is not taken for one outside of pods") {
  test::TempDir dir("layerd-cgroups");
  const std::string proc = dir / "proc", tree = dir / "tree", closed = tree + "/closed";
  for (const auto& folder :
       {proc, tree, tree + "/system.slice", tree + "/kubepods.slice", tree + "/late.service", closed})
    fs::create_directories(folder);
  const auto mounted_at = [&](const std::string& place) {
    std::ofstream(proc + "/mountinfo") << "41 31 0:38 / " << place << " rw,relatime - cgroup2 cgroup2 rw\n";
  };
  mounted_at(tree);
  std::ofstream(proc + "/cgroup") << "0::/system.slice\n";
  test::NetLoop loop;
  Metrics metrics;
  KernelCgroups cgroups(loop.loop, loop.workers(), metrics, proc);
  constexpr std::uint64_t kElsewhere = 0x7fffffffffff;

  // Groups that are seen are what they are; not knowing the others is no answer, and is told.
  CHECK(looked_up(loop, cgroups, number_of(tree + "/system.slice")) == CgroupKind::plain);
  CHECK(looked_up(loop, cgroups, number_of(tree + "/kubepods.slice")) == CgroupKind::container);
  CHECK(cgroups.trouble().empty());
  CHECK(looked_up(loop, cgroups, kElsewhere) == CgroupKind::unreadable);  // outside of what we see
  CHECK(cgroups.kind(kElsewhere) == CgroupKind::unreadable);
  CHECK(cgroups.trouble().find("its own part of the tree alone") != std::string::npos);
  CHECK(metrics.total("layerd_cgroups_unreadable_total") == 1);

  // Root reads everything: as another user.
  fs::permissions(fs::path(proc).parent_path(), fs::perms(0755));
  fs::permissions(closed, fs::perms::none);
  if (::getuid() == 0) REQUIRE(::seteuid(12345) == 0);
  CHECK(looked_up(loop, cgroups, kElsewhere) == CgroupKind::unreadable);
  if (::getuid() == 0) REQUIRE(::seteuid(0) == 0);
  fs::permissions(closed, fs::perms(0755));
  CHECK(cgroups.trouble().find("cannot read " + closed) != std::string::npos);

  mounted_at(tree + "/nowhere");
  CHECK(looked_up(loop, cgroups, kElsewhere + 1) == CgroupKind::unreadable);
  std::ofstream(proc + "/mountinfo") << "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
  CHECK(looked_up(loop, cgroups, kElsewhere + 2) == CgroupKind::unreadable);
  fs::remove(proc + "/mountinfo");
  const auto service = number_of(tree + "/late.service");
  CHECK(looked_up(loop, cgroups, service) == CgroupKind::unreadable);

  // A kernel that tells no groups apart is another thing; and what can be read again ends the trouble.
  CHECK(cgroups.kind(0) == CgroupKind::plain);
  CHECK(cgroups.kind(1) == CgroupKind::plain);
  mounted_at(tree);
  CHECK(looked_up(loop, cgroups, service) == CgroupKind::plain);
  CHECK(cgroups.kind(service) == CgroupKind::plain);
  CHECK(cgroups.trouble().empty());
}
