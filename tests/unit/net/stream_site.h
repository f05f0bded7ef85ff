// A listener on loopback whose accepted streams a test holds, and plain blocking clients of it.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/net/address.h"
#include "proxy/net/listener.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

namespace layerd::test::streams {

using namespace layerd::net;
using namespace std::chrono_literals;

// accepted: every stream so far, in order, until a test drops them.
struct Server : NetLoop {
  std::vector<Accepted> accepted;
  std::optional<Listener> listener;
  Address address;

  explicit Server(ListenerSettings settings = {}) {
    listener.emplace(loop, workers(), settings, [this](Accepted one) { accepted.push_back(std::move(one)); });
    auto bound = listener->listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    address = *bound;
  }
  ~Server() {
    accepted.clear();
    listener.reset();
  }
  Fd connect(int receive_buffer = 0) {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_storage storage{};
    const socklen_t length = to_sockaddr(address, storage);
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
    timeval limit{5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }
  ByteStream& stream(std::size_t at = 0) {
    REQUIRE(until([&] { return accepted.size() > at; }));
    return *accepted[at].stream;
  }
};

inline std::string noise(std::size_t size) {
  std::mt19937_64 random(42);
  std::string text(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const auto word = random();
    std::memcpy(&text[i], &word, 8);
  }
  return text;
}

// Reads until the end on a thread of its own; -1 in `failed` is a reset.
struct Drain {
  std::string got;
  int failed = 0;
  std::atomic<bool> done{false};
  std::thread thread;
  Drain(int fd, std::chrono::milliseconds pause = 0ms)
      : thread([this, fd, pause] {
          std::vector<char> buffer(256 << 10);
          ssize_t n = 0;
          while ((n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
            got.append(buffer.data(), static_cast<std::size_t>(n));
            if (pause.count()) std::this_thread::sleep_for(pause);
          }
          failed = n < 0 ? errno : 0;
          done = true;
        }) {}
  ~Drain() { thread.join(); }
};

}  // namespace layerd::test::streams
