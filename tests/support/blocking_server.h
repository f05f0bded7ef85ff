// A plain HTTP/1.1 server for tests: one thread for each connection, blocking sockets, TLS on request.
// It shares no code with layerd. The destructor ends every connection and joins every thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "tests/support/private_ca.h"

struct ssl_st;
struct ssl_ctx_st;

namespace layerd::test {

struct ServerRequest {
  std::string method;
  std::string target;                          // path and query
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  int connection = 0;  // counts from 1

  std::string path() const { return target.substr(0, target.find('?')); }
  std::string header(const std::string& name) const;
  std::string query(const std::string& key) const;  // percent-decoded; empty when absent
};

class BlockingServer;

class ServerConnection {
 public:
  // False once the client or the server has gone.
  bool write(std::string_view bytes);
  // Waits; false when the server stops meanwhile.
  bool pause(std::chrono::milliseconds time);
  // Ends the stream after what was written: FIN, or RST.
  void cut(bool reset);

 private:
  friend class BlockingServer;
  ServerConnection(BlockingServer& server, int fd, int number) : server_(server), fd_(fd), number_(number) {}
  bool start_tls(ssl_ctx_st* context);
  bool read_request(ServerRequest& request);
  int read(char* into, int size);
  void close();

  BlockingServer& server_;
  int fd_;
  int number_;
  ssl_st* ssl_ = nullptr;
  std::string unread_;
};

class BlockingServer {
 public:
  // Called on the connection's thread. True: wait for the next request on it.
  using Handler = std::function<bool(const ServerRequest&, ServerConnection&)>;

  explicit BlockingServer(Handler handler, std::optional<Certificate> certificate = {},
                          std::uint16_t port = 0);
  ~BlockingServer();
  BlockingServer(const BlockingServer&) = delete;
  BlockingServer& operator=(const BlockingServer&) = delete;

  std::uint16_t port() const { return port_; }
  bool has_tls() const { return context_ != nullptr; }
  int connections() const { return connections_; }
  int most_connections_at_once() const { return most_; }
  int resumed_tls_sessions() const { return resumed_; }
  // Refuses new connections and ends those open; the port stays reserved for come_back().
  void go_away();
  void come_back();

 private:
  friend class ServerConnection;
  void listen_on(std::uint16_t port);
  void accept_all();
  void serve(int fd, int number);

  Handler handler_;
  ssl_ctx_st* context_ = nullptr;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0}, now_{0}, most_{0}, resumed_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<int> open_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace layerd::test
