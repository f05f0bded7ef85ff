// An HTTP proxy that misbehaves on order: CONNECT and absolute-form requests, Basic authentication, TLS on
// request. Blocking sockets, a thread for each connection, none of layerd's code. Names lead where the
// test says: it looks nothing up.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/tls_server.h"

namespace layerd::test {

struct FakeProxySettings {
  std::map<std::string, std::uint16_t> routes = {};  // "host:port" -> a port on loopback; all others: 502
  std::string user_and_password = {};                // "user:pass"; empty: anybody may
  std::string answer = {};                           // to every request instead; "" with silent: none
  bool is_silent = false;                            // takes connections and never says a word
  Identity identity = {};                            // not empty: https://
};

class FakeProxy {
 public:
  explicit FakeProxy(FakeProxySettings settings);
  ~FakeProxy();
  std::uint16_t port() const { return port_; }
  std::string url(const std::string& user = "") const;
  // The heads of all requests, in order.
  std::vector<std::string> requests();

 private:
  struct Line;
  void serve();
  void serve_one(int fd);
  std::string answer_to(const std::string& head, int& target, std::string& forward);

  FakeProxySettings settings_;
  void* context_ = nullptr;  // SSL_CTX
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::string> requests_;  // guarded by mutex_
  std::vector<int> open_;              // guarded by mutex_
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace layerd::test
