#include "proxy/net/listener.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "proxy/net/address.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPause = 100ms;

Address local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  if (storage.ss_family != AF_UNIX) return address_of(storage);
  sockaddr_un un{};
  std::memcpy(&un, &storage, std::min<std::size_t>(length, sizeof un));
  un.sun_path[sizeof un.sun_path - 1] = '\0';
  return {un.sun_path, 0, false};
}

std::optional<PeerCredentials> credentials_of(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return std::nullopt;
  return PeerCredentials{peer.uid, peer.gid, peer.pid};
}

Error listen_error(std::string_view where, int code) {
  const char* remedy = code == EADDRINUSE      ? "; another process holds the port: see ss -ltnp"
                       : code == EADDRNOTAVAIL ? "; this machine has no such address"
                       : code == EACCES        ? "; ports below 1024 need CAP_NET_BIND_SERVICE"
                                               : "";
  Error error = errno_error(fmt::format("cannot listen on {}", where), code, Errc::config);
  error.message += remedy;
  return error;
}

bool somebody_answers(const sockaddr_un& address) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int failed = connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return failed == 0 || errno == EAGAIN;
}

}  // namespace

struct Listener::Socket {
  Fd fd;
  Address local;
  bool is_unix = false;
  bool is_wildcard = false;
  std::unique_ptr<Poller> poller;  // last: gone before the descriptor
};

// Counts the connections there are. Streams outlive the listener; `owner` is null then.
struct Listener::Seats {
  Listener* owner;
  std::size_t taken = 0;

  static std::shared_ptr<void> take(const std::shared_ptr<Seats>& seats) {
    ++seats->taken;
    return std::shared_ptr<void>(nullptr, [seats](void*) {
      const bool was_full = seats->owner && seats->taken == seats->owner->settings_.most;
      --seats->taken;
      if (was_full && !seats->owner->pause_.held()) seats->owner->resume();
    });
  }
};

Listener::Listener(UvLoop& loop, Workers& workers, ListenerSettings settings,
                   Callback<void(Accepted)> accepted)
    : loop_(loop),
      workers_(workers),
      settings_(settings),
      accepted_(std::move(accepted)),
      lingering_(std::make_shared<Lingering>()),
      seats_(std::make_shared<Seats>(Seats{this})),
      spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

Listener::~Listener() {
  stop();
  seats_->owner = nullptr;
  lingering_->close_all();
}

Result<Address> Listener::listen(const Address& address) {
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(address, storage);
  Fd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) {
    const int code = errno;
    // Without IPv6 in the kernel (ipv6.disable=1) every address there is is one of IPv4.
    if (code == EAFNOSUPPORT && address.host == "::") return listen({"0.0.0.0", address.port, false});
    return listen_error(address.str(), code);
  }
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // [::] serves IPv4 as well; any other IPv6 address is only itself.
  int v6_only = address.host != "::";
  if (address.is_ipv6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
      ::listen(fd.get(), settings_.backlog) != 0) {
    return listen_error(address.str(), errno);
  }
  return begin(std::move(fd), false);
}

Result<Address> Listener::adopt(int fd) {
  int accepts = 0, family = 0;
  socklen_t length = sizeof accepts;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &length) != 0 || accepts == 0) {
    return Error{Errc::config, fmt::format("inherited descriptor {} is not a listening socket", fd)};
  }
  length = sizeof family;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return begin(Fd(fd), family == AF_UNIX);
}

Result<Ok> Listener::listen_unix(const std::string& path, mode_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error{Errc::config, fmt::format("the socket path {} is too long", path)};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode))
      return Error{Errc::config, fmt::format("{} exists and is not a socket", path)};
    if (somebody_answers(address))
      return Error{Errc::config, fmt::format("another process listens on {}", path)};
    unlink(path.c_str());
  }
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return listen_error(path, errno);
  // The mode of the descriptor becomes the file's: at no moment may more people connect.
  fchmod(fd.get(), mode);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return listen_error(path, errno);
  paths_.push_back(path);
  chmod(path.c_str(), mode);
  if (::listen(fd.get(), settings_.backlog) != 0) return listen_error(path, errno);
  auto begun = begin(std::move(fd), true);
  if (!begun) return std::move(begun).error();
  return Ok{};
}

Result<Address> Listener::begin(Fd fd, bool is_unix) {
  auto socket = std::make_unique<Socket>();
  Socket* raw = socket.get();
  raw->local = local_address(fd.get());
  raw->is_wildcard = raw->local.host == "::" || raw->local.host == "0.0.0.0";
  raw->is_unix = is_unix;
  raw->fd = std::move(fd);
  raw->poller = std::make_unique<Poller>(loop_, raw->fd.get(), [this, raw](int) { on_ready(*raw); });
  raw->poller->watch(Poller::kReadable);
  sockets_.push_back(std::move(socket));
  addresses_.push_back(raw->local);
  return raw->local;
}

void Listener::stop() {
  pause_.reset();
  sockets_.clear();
  for (const std::string& path : paths_) unlink(path.c_str());
  paths_.clear();
}

std::size_t Listener::connections() const { return seats_->taken; }

// One connection in each event; the rest shows in the next turn.
void Listener::on_ready(Socket& socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  Fd fd(
      accept4(socket.fd.get(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.is_open()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) out_of_descriptors(socket);
    return;
  }
  Accepted accepted;
  Address peer = socket.is_unix ? Address{socket.local.host, 0, false} : address_of(storage);
  if (socket.is_unix) {
    accepted.credentials = credentials_of(fd.get());
  } else {
    tune_socket(fd.get());
    if (settings_.unsent > 0)
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &settings_.unsent, sizeof settings_.unsent);
  }
  Address local = socket.is_wildcard ? local_address(fd.get()) : socket.local;
  auto seat = Seats::take(seats_);
  if (seats_->taken >= settings_.most) pause();
  accepted.stream = std::make_unique<TcpStream>(loop_, workers_, std::move(fd), std::move(peer),
                                                std::move(local), lingering_, std::move(seat));
  accepted_(std::move(accepted));
}

// A connection that cannot be accepted would wake the loop for ever. The spare descriptor is given up
// to take it and close it, so that its client goes on elsewhere at once; then we wait a moment.
void Listener::out_of_descriptors(Socket& socket) {
  spare_.reset();
  Fd turned(accept4(socket.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (turned.is_open()) {
    ++turned_away_;
    ::shutdown(turned.get(), SHUT_RDWR);
  }
  turned.reset();
  spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (turned_away_ == 1 || turned_away_ % 1000 == 0) {
    LogLine(LogLevel::warn, "out_of_descriptors")
        .field("listener", socket.local.str())
        .field("turned_away", turned_away_)
        .field("remedy", "raise LimitNOFILE of layerd.service");
  }
  pause();
  pause_ = loop_.after(kPause, "accept pause", [this] { resume(); });
}

void Listener::pause() {
  for (auto& socket : sockets_) socket->poller->watch(0);
}

void Listener::resume() {
  pause_.reset();
  if (seats_->taken >= settings_.most) return;
  for (auto& socket : sockets_) socket->poller->watch(Poller::kReadable);
}

}  // namespace layerd::net
