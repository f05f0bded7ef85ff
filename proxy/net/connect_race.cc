#include "proxy/net/connect_race.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/net/address.h"
#include "proxy/net/tcp_stream.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostShown = 4;

// The more telling the earlier: a refusal says that somebody is there.
struct Meaning {
  int code;
  const char* diagnosis;
  const char* words;
};
constexpr Meaning kMeanings[] = {
    {ECONNREFUSED, "connect_refused", "refused the connection"},
    {ECONNRESET, "connect_refused", "reset the connection"},
    {ETIMEDOUT, "connect_timeout", "did not answer"},
    {EHOSTUNREACH, "network_unreachable", "cannot be reached"},
    {ENETUNREACH, "network_unreachable", "cannot be reached (no route)"},
    {EADDRNOTAVAIL, "network_unreachable", "cannot be reached (no such address family here)"},
    {EAFNOSUPPORT, "network_unreachable", "cannot be reached (no such address family here)"},
};

std::size_t rank_of(int code) {
  return static_cast<std::size_t>(
      std::find_if(std::begin(kMeanings), std::end(kMeanings),
                   [code](const Meaning& meaning) { return meaning.code == code; }) -
      std::begin(kMeanings));
}

Address local_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return address_of(storage);
}

}  // namespace

ConnectRace::ConnectRace(UvLoop& loop, std::vector<Address> addresses, Duration delay, Route route)
    : loop_(loop), addresses_(std::move(addresses)), delay_(delay), route_(std::move(route)) {}

void ConnectRace::start(Done<Connected> done) {
  done_ = std::move(done);
  turn_ = loop_.post([this] { next(); });
}

void ConnectRace::next() {
  while (begun_ < addresses_.size()) {
    const Address& address = addresses_[begun_++];
    auto attempt = std::make_unique<Attempt>();
    attempt->address = address;
    sockaddr_storage storage{};
    const socklen_t length = to_sockaddr(route_ ? route_(address) : address, storage);
    attempt->fd = Fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!attempt->fd.is_open() ||
        (connect(attempt->fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 &&
         errno != EINPROGRESS)) {
      lost_.emplace_back(address, errno);
      continue;
    }
    Attempt* raw = attempt.get();
    raw->poller = std::make_unique<Poller>(loop_, raw->fd.get(), [this, raw](int) { on_ready(raw); });
    raw->poller->watch(Poller::kWritable);
    attempts_.push_back(std::move(attempt));
    if (begun_ < addresses_.size()) turn_ = loop_.after(delay_, "next address", [this] { next(); });
    return;
  }
  if (!attempts_.empty()) return;
  auto done = std::move(done_);
  done(failure());
}

void ConnectRace::on_ready(Attempt* attempt) {
  int code = 0;
  socklen_t length = sizeof code;
  getsockopt(attempt->fd.get(), SOL_SOCKET, SO_ERROR, &code, &length);
  if (code == 0) return win(attempt);
  lost_.emplace_back(attempt->address, code);
  std::erase_if(attempts_, [attempt](const auto& entry) { return entry.get() == attempt; });
  turn_.reset();
  next();
}

void ConnectRace::win(Attempt* attempt) {
  Connected connected{std::move(attempt->fd), attempt->address, {}};
  connected.local = local_of(connected.fd.get());
  tune_socket(connected.fd.get());
  attempts_.clear();
  turn_.reset();
  auto done = std::move(done_);
  done(std::move(connected));
}

std::string ConnectRace::tried() const {
  std::string list;
  for (std::size_t i = 0; i < std::min(begun_, kMostShown); ++i)
    list += (i ? ", " : "") + addresses_[i].str();
  return list;
}

Error ConnectRace::failure() const {
  int worst = lost_.front().second;
  std::string list;
  for (std::size_t i = 0; i < lost_.size(); ++i) {
    const auto& [address, code] = lost_[i];
    if (rank_of(code) < rank_of(worst)) worst = code;
    if (i >= kMostShown) continue;
    const std::size_t rank = rank_of(code);
    list += fmt::format("{}{} {}", i ? ", " : "", address.str(),
                        rank < std::size(kMeanings) ? kMeanings[rank].words : std::strerror(code));
  }
  const std::size_t rank = rank_of(worst);
  return {Errc::upstream_unreachable,
          list,
          worst,
          0,
          rank < std::size(kMeanings) ? kMeanings[rank].diagnosis : "connect_failed",
          {}};
}

}  // namespace layerd::net
