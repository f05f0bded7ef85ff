#include "proxy/net/proxy_tunnel.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostHead = 16_KiB;
constexpr std::size_t kRead = 4_KiB;

std::string host_and_port(const std::string& host, std::uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

// What squid says besides; empty: nothing.
std::string squids_word(std::string_view head) {
  constexpr std::string_view kName = "\r\nx-squid-error:";
  const auto found = std::search(head.begin(), head.end(), kName.begin(), kName.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == b;
  });
  if (found == head.end()) return {};
  const auto at = static_cast<std::size_t>(found - head.begin()) + kName.size();
  auto value = head.substr(at, head.find("\r\n", at) - at);
  while (value.starts_with(' ')) value.remove_prefix(1);
  return printable(value, 60);
}

std::string_view remedy_of(int status, bool has_user) {
  if (status == 407 && has_user) return "it refuses the user name or password that `proxy` gives";
  if (status == 407)
    return "it wants a user name and a password: proxy.https: http://USER:PASSWORD@HOST:PORT";
  if (status == 403 || status == 405)
    return "its rules forbid this; let it allow the host, or name the host in proxy.no_proxy";
  if (status == 502 || status == 503 || status == 504) return "it could not reach the host itself";
  return {};
}

}  // namespace

Error proxy_error(std::string_view proxy, std::string_view asked, int status, std::string_view reason,
                  std::string_view more, bool has_user) {
  std::string message = fmt::format("the proxy {} answered {}{}{} to {}", proxy, status,
                                    reason.empty() ? "" : " ", printable(reason, 80), asked);
  if (!more.empty()) message += fmt::format(" ({})", more);
  if (const auto remedy = remedy_of(status, has_user); !remedy.empty())
    message += fmt::format("; {}", remedy);
  return {Errc::upstream_unreachable, std::move(message), 0, status, "proxy_failed", {}};
}

ProxyTunnel::ProxyTunnel(ByteStream& stream, const Proxy& proxy, const std::string& host, std::uint16_t port)
    : stream_(stream), proxy_(proxy.str()), target_(host_and_port(host, port)) {
  const std::string authorization = proxy_authorization(proxy);
  has_user_ = !authorization.empty();
  request_ = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: layerd\r\n", target_);
  if (has_user_) request_ += fmt::format("Proxy-Authorization: {}\r\n", authorization);
  request_ += "\r\n";
}

void ProxyTunnel::start(Done<Ok> done) {
  done_ = std::move(done);
  // A write that fails is no verdict: the proxy may have answered before it closed. Reading tells.
  writing_ = stream_.write(Bytes::copy_of(request_), [](const Result<Ok>&) {});
  read();
}

void ProxyTunnel::read() {
  reading_ = stream_.read(kRead, [this](Result<Bytes> bytes) { on_bytes(std::move(bytes)); });
}

void ProxyTunnel::on_bytes(Result<Bytes> bytes) {
  const auto failed = [this](std::string_view why) {
    finish(Error{Errc::upstream_unreachable,
                 fmt::format("the proxy {} gave no answer to CONNECT {}: {}", proxy_, target_, why),
                 0,
                 0,
                 "proxy_failed",
                 {}});
  };
  if (!bytes) return failed(bytes.error().message);
  if (bytes->empty()) return failed("it closed the connection");
  head_ += bytes->view();
  if (!std::string_view("HTTP/1.").starts_with(std::string_view(head_).substr(0, 7)))
    return failed("it does not speak HTTP");
  if (head_.find("\r\n\r\n") != std::string::npos) return finish(verdict());
  if (head_.size() > kMostHead) return failed("the head of its answer does not end");
  read();
}

Result<Ok> ProxyTunnel::verdict() const {
  const std::string_view line = std::string_view(head_).substr(0, head_.find("\r\n"));
  const auto space = line.find(' ');
  int status = 0;
  const std::string_view code = space == std::string_view::npos ? "" : line.substr(space + 1, 3);
  std::from_chars(code.data(), code.data() + code.size(), status);
  const bool is_tunnel = status >= 200 && status < 300;
  // A host of TLS says nothing before we do.
  if (is_tunnel && head_.size() == head_.find("\r\n\r\n") + 4) return Ok{};
  const std::string_view reason = line.size() > space + 5 ? line.substr(space + 5) : std::string_view();
  return proxy_error(proxy_, "CONNECT " + target_, status, reason,
                     is_tunnel ? "and sent more behind it" : squids_word(head_), has_user_);
}

void ProxyTunnel::finish(Result<Ok> result) {
  writing_.reset();
  reading_.reset();
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::net
