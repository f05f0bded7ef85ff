#include "tests/support/http_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace layerd::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

milliseconds since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

// Undoes the chunked coding of `raw`; false while the last chunk has not come.
bool unchunk(const std::string& raw, std::string& body) {
  body.clear();
  for (std::size_t at = 0;;) {
    const std::size_t line = raw.find("\r\n", at);
    if (line == std::string::npos) return false;
    const std::size_t size = std::strtoul(raw.c_str() + at, nullptr, 16);
    if (size == 0) return raw.find("\r\n", line + 2) != std::string::npos;
    if (raw.size() < line + 2 + size + 2) {
      body += raw.substr(line + 2);
      return false;
    }
    body += raw.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
}

}  // namespace

std::string ProbeReply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

ProbeConnection::ProbeConnection(std::uint16_t port) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(fd_);
    fd_ = -1;
  }
}

ProbeConnection::~ProbeConnection() {
  if (fd_ >= 0) close(fd_);
}

bool ProbeConnection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

ProbeConnection::Got ProbeConnection::more(steady_clock::time_point end, std::size_t most) {
  const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
  pollfd watched{fd_, POLLIN, 0};
  if (left.count() <= 0 || poll(&watched, 1, static_cast<int>(left.count())) == 0) return Got::timeout;
  char buffer[64 * 1024];
  const ssize_t got = recv(fd_, buffer, std::min(most, sizeof buffer), 0);
  if (got < 0) return Got::error;
  if (got == 0) return Got::end;
  unread_.append(buffer, static_cast<std::size_t>(got));
  return Got::bytes;
}

void ProbeConnection::note(ProbeReply& reply, Got got) {
  if (got == Got::error) reply.reset = true;
  if (got == Got::timeout) reply.timed_out = true;
}

bool ProbeConnection::read_head(ProbeReply& reply, steady_clock::time_point end) {
  std::size_t head_end;
  while ((head_end = unread_.find("\r\n\r\n")) == std::string::npos) {
    const Got got = more(end, SIZE_MAX);
    note(reply, got);
    if (got != Got::bytes) return false;
  }
  const std::string head = unread_.substr(0, head_end + 2);
  unread_.erase(0, head_end + 4);
  const std::size_t line_end = head.find("\r\n");
  if (head.size() < 12) return false;
  reply.status = std::atoi(head.c_str() + 9);
  if (line_end > 13) reply.reason = head.substr(13, line_end - 13);
  for (std::size_t at = line_end + 2; at < head.size();) {
    const std::size_t stop = head.find("\r\n", at);
    const std::size_t colon = head.find(':', at);
    std::string name = head.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t value = std::min(head.find_first_not_of(' ', colon + 1), stop);
    reply.headers[name] = head.substr(value, stop - value);
    at = stop + 2;
  }
  return true;
}

void ProbeConnection::read_body(ProbeReply& reply, const ProbeRequest& limits, steady_clock::time_point end) {
  const auto start = steady_clock::now();
  const bool chunked = reply.header("transfer-encoding") == "chunked";
  const bool has_length = reply.headers.contains("content-length");
  const std::size_t length = has_length ? std::stoull(reply.header("content-length")) : SIZE_MAX;
  for (;;) {
    if (chunked && unchunk(unread_, reply.body)) {
      reply.complete = true;
      unread_.clear();
      return;
    }
    if (!chunked && unread_.size() >= length) break;
    if (unread_.size() >= limits.hang_up_after) break;
    if (limits.bytes_per_second != 0) {
      const auto due = milliseconds(unread_.size() * 1000 / limits.bytes_per_second);
      std::this_thread::sleep_until(std::min(start + due, end));
    }
    const Got got =
        more(end, limits.bytes_per_second != 0 ? std::max<std::size_t>(1, limits.bytes_per_second / 20)
                                               : SIZE_MAX);
    note(reply, got);
    if (got != Got::bytes) {
      // Without a length the end of the stream is the only end there is.
      reply.complete = got == Got::end && !chunked && !has_length;
      break;
    }
  }
  if (chunked) return;
  const std::size_t taken = std::min(length, unread_.size());
  reply.complete = reply.complete || taken == length;
  reply.body = unread_.substr(0, taken);
  unread_.erase(0, taken);
}

ProbeReply ProbeConnection::read(bool head_only, const ProbeRequest& limits) {
  ProbeReply reply;
  const auto start = steady_clock::now();
  const auto end = start + limits.timeout;
  if (fd_ < 0) {
    reply.reset = true;
    return reply;
  }
  if (!read_head(reply, end)) return reply;
  const bool bodiless = head_only || reply.status == 304 || reply.status == 204 || reply.status / 100 == 1;
  if (bodiless) {
    reply.complete = true;
  } else {
    if (unread_.empty() && reply.header("content-length") != "0") note(reply, more(end, 4096));
    reply.first_byte = since(start);
    read_body(reply, limits, end);
  }
  reply.total = since(start);
  return reply;
}

std::string ProbeConnection::read_raw(milliseconds timeout) {
  const auto end = steady_clock::now() + timeout;
  while (more(end, SIZE_MAX) == Got::bytes) {
  }
  return std::exchange(unread_, {});
}

ProbeReply probe(const ProbeRequest& request) {
  ProbeConnection connection(request.port);
  std::string head = request.method + " " + request.target + " HTTP/1.1\r\n";
  const bool has_host = std::any_of(request.headers.begin(), request.headers.end(),
                                    [](const auto& header) { return header.first == "Host"; });
  if (!has_host) head += "Host: 127.0.0.1:" + std::to_string(request.port) + "\r\n";
  for (const auto& [name, value] : request.headers) head += name + ": " + value + "\r\n";
  connection.send(head + "\r\n");
  return connection.read(request.method == "HEAD", request);
}

}  // namespace layerd::test
