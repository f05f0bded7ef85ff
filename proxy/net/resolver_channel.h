// DnsServer: one DNS server: a c-ares channel of its own, so that its health is known and its
// REFUSED and SERVFAIL are seen. Loop thread. Destroying it abandons its questions unanswered.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/poller.h"
#include "proxy/net/resolver_answer.h"
#include "proxy/net/stream.h"
#include "runtime/uv_loop.h"

struct ares_channeldata;

namespace layerd::net {

class DnsServer {
 public:
  // server: "10.0.0.10:53". timeout: of one try; two tries are made.
  DnsServer(UvLoop& loop, std::string server, Duration timeout);
  ~DnsServer();
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  Ticket ask(const std::string& name, DnsType type, Done<DnsAnswer> done);
  const std::string& name() const { return name_; }
  // When it last failed to answer in time; servers that did are asked last for a while.
  TimePoint silent_since() const { return silent_since_; }
  bool is_silent() const { return is_silent_; }

 private:
  struct Question;
  static void on_answer(void* arg, int status, int timeouts, unsigned char* bytes, int size) noexcept;
  static void on_socket(void* arg, int fd, int readable, int writable) noexcept;
  void on_ready(int fd, int events);
  void rearm();
  void note(DnsOutcome outcome);

  UvLoop& loop_;
  std::string name_;
  ares_channeldata* channel_ = nullptr;
  std::map<int, std::unique_ptr<Poller>> sockets_;
  bool is_silent_ = false;
  TimePoint silent_since_{};
  Ticket timer_;
};

}  // namespace layerd::net
