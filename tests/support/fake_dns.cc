#include "tests/support/fake_dns.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "runtime/check.h"

namespace layerd::test {
namespace {

constexpr unsigned kTypeA = 1, kTypeAaaa = 28, kTypeSrv = 33;

void put16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 0xff);
}

std::string wire_name(const std::string& name) {
  std::string wire;
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    wire += static_cast<char>(dot - at);
    wire += name.substr(at, dot - at);
    at = dot + 1;
  }
  return wire + '\0';
}

// Type, class, TTL and length; the name stands before and the data behind.
void put_record(std::string& out, unsigned type, unsigned ttl, const std::string& data) {
  put16(out, type);
  put16(out, 1);
  put16(out, ttl >> 16);
  put16(out, ttl & 0xffff);
  put16(out, static_cast<unsigned>(data.size()));
  out += data;
}

std::string raw_address(const std::string& text) {
  unsigned char raw[16];
  const bool is_v6 = text.find(':') != std::string::npos;
  inet_pton(is_v6 ? AF_INET6 : AF_INET, text.c_str(), raw);
  return std::string(reinterpret_cast<const char*>(raw), is_v6 ? 16 : 4);
}

}  // namespace

FakeDns::FakeDns() {
  // The same port for both: another try when somebody has the other half of it.
  for (int tries = 0; port_ == 0; ++tries) {
    LAYERD_CHECK(tries < 50);
    udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(tcp_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    LAYERD_CHECK(bind(tcp_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    getsockname(tcp_, reinterpret_cast<sockaddr*>(&address), &length);
    if (bind(udp_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
      port_ = ntohs(address.sin_port);
      break;
    }
    ::close(udp_);
    ::close(tcp_);
  }
  LAYERD_CHECK(listen(tcp_, 4) == 0);
  thread_ = std::thread([this] { serve(); });
}

FakeDns::~FakeDns() {
  stopping_ = true;
  thread_.join();
  ::close(udp_);
  ::close(tcp_);
}

std::string FakeDns::address() const { return "127.0.0.1:" + std::to_string(port_); }

void FakeDns::set(const std::string& name, Answer answer) {
  std::lock_guard lock(mutex_);
  answers_[name] = std::move(answer);
}

int FakeDns::asked(const std::string& name) {
  std::lock_guard lock(mutex_);
  return asked_[name];
}

std::set<unsigned short> FakeDns::ports() {
  std::lock_guard lock(mutex_);
  return ports_;
}

void FakeDns::serve() {
  while (!stopping_) {
    pollfd ready[] = {{udp_, POLLIN, 0}, {tcp_, POLLIN, 0}};
    if (poll(ready, 2, 10) <= 0) continue;
    char buffer[2048];
    if (ready[0].revents & POLLIN) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(udp_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length);
      {
        std::lock_guard lock(mutex_);
        ports_.insert(ntohs(from.sin_port));
      }
      const std::string reply =
          n > 16 ? answer_to(std::string(buffer, static_cast<std::size_t>(n)), true) : "";
      if (!reply.empty())
        sendto(udp_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
    if (ready[1].revents & POLLIN) {
      const int fd = accept(tcp_, nullptr, nullptr);
      timeval limit{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      const std::string reply =
          n > 18 ? answer_to(std::string(buffer + 2, static_cast<std::size_t>(n) - 2), false) : "";
      std::string framed;
      put16(framed, static_cast<unsigned>(reply.size()));
      framed += reply;
      send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
      ::close(fd);
    }
  }
}

std::string FakeDns::answer_to(const std::string& question, bool is_udp) {
  std::string name;
  std::size_t at = 12;
  while (at < question.size() && question[at] != 0) {
    const auto size = static_cast<std::size_t>(question[at]);
    for (const char c : question.substr(at + 1, size)) name += static_cast<char>(std::tolower(c));
    name += '.';
    at += size + 1;
  }
  if (!name.empty()) name.pop_back();
  if (at + 5 > question.size()) return {};
  const unsigned type = static_cast<unsigned char>(question[at + 2]);
  Answer answer;
  {
    std::lock_guard lock(mutex_);
    ++asked_[name];
    const auto found = answers_.find(name);
    answer = found == answers_.end() ? Answer{{}, 3} : found->second;
  }
  if (answer.is_silent || (answer.is_silent_on_v6 && type == kTypeAaaa)) return {};
  std::string records;
  unsigned count = 0;
  const bool cut = answer.is_truncated && is_udp;
  for (const std::string& text : answer.addresses) {
    const bool is_v6 = text.find(':') != std::string::npos;
    if (cut || type != (is_v6 ? kTypeAaaa : kTypeA)) continue;
    ++count;
    put16(records, 0xc00c);
    put_record(records, type, answer.ttl, raw_address(text));
  }
  std::string extra;
  unsigned extra_count = 0;
  for (const Service& service : answer.services) {
    if (cut || type != kTypeSrv) continue;
    std::string data;
    put16(data, 0);
    put16(data, 0);
    put16(data, service.port);
    ++count;
    put16(records, 0xc00c);
    put_record(records, kTypeSrv, answer.ttl, data + wire_name(service.target));
    if (service.address.empty()) continue;
    ++extra_count;
    extra += wire_name(service.target);
    put_record(extra, service.address.find(':') != std::string::npos ? kTypeAaaa : kTypeA, answer.ttl,
               raw_address(service.address));
  }
  std::string reply = question.substr(0, 2);
  put16(reply, 0x8180u | (cut ? 0x0200u : 0u) | static_cast<unsigned>(answer.rcode));
  put16(reply, 1);
  put16(reply, count);
  put16(reply, 0);
  put16(reply, extra_count);
  return reply + question.substr(12, at + 5 - 12) + records + extra;
}

}  // namespace layerd::test
