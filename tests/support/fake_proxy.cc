#include "tests/support/fake_proxy.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/check.h"
#include "tests/support/hashes.h"

namespace layerd::test {
namespace {

int connect_to(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

SSL_CTX* context_of(const Identity& identity) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  BIO* certificate = BIO_new_mem_buf(identity.certificate.data(), -1);
  X509* parsed = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
  BIO* key = BIO_new_mem_buf(identity.key.data(), -1);
  EVP_PKEY* parsed_key = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
  SSL_CTX_use_certificate(context, parsed);
  SSL_CTX_use_PrivateKey(context, parsed_key);
  X509_free(parsed);
  EVP_PKEY_free(parsed_key);
  BIO_free(certificate);
  BIO_free(key);
  return context;
}

}  // namespace

// The client's side of a connection, plain or TLS.
struct FakeProxy::Line {
  int fd;
  SSL* ssl = nullptr;
  long read(char* into, std::size_t size) {
    return ssl ? SSL_read(ssl, into, static_cast<int>(size)) : recv(fd, into, size, 0);
  }
  bool write(std::string_view bytes) {
    if (bytes.empty()) return true;
    if (ssl) return SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())) > 0;
    while (!bytes.empty()) {
      const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Passes bytes on in both directions until one side ends.
  void relay(int target) {
    char buffer[16384];
    for (;;) {
      pollfd fds[2] = {{fd, POLLIN, 0}, {target, POLLIN, 0}};
      const bool has_more = ssl && SSL_pending(ssl) > 0;
      if (!has_more && poll(fds, 2, -1) < 0) return;
      if (has_more || fds[0].revents != 0) {
        const long n = read(buffer, sizeof buffer);
        if (n <= 0 || send(target, buffer, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) return;
      }
      if (fds[1].revents != 0) {
        const ssize_t n = recv(target, buffer, sizeof buffer, 0);
        if (n <= 0 || !write({buffer, static_cast<std::size_t>(n)})) return;
      }
    }
  }
};

FakeProxy::FakeProxy(FakeProxySettings settings) : settings_(std::move(settings)) {
  if (!settings_.identity.certificate.empty()) context_ = context_of(settings_.identity);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  LAYERD_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  LAYERD_CHECK(listen(listener_, 64) == 0);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { serve(); });
}

FakeProxy::~FakeProxy() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  SSL_CTX_free(static_cast<SSL_CTX*>(context_));
}

std::string FakeProxy::url(const std::string& user) const {
  return fmt::format("{}://{}{}127.0.0.1:{}", context_ ? "https" : "http", user, user.empty() ? "" : "@",
                     port_);
}

std::vector<std::string> FakeProxy::requests() {
  std::lock_guard lock(mutex_);
  return requests_;
}

void FakeProxy::serve() {
  while (!stopping_) {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) continue;
    {
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
    }
    threads_.emplace_back([this, fd] { serve_one(fd); });
  }
}

// What to say first; `target` is the descriptor to relay with, `forward` what it is sent before.
std::string FakeProxy::answer_to(const std::string& head, int& target, std::string& forward) {
  if (!settings_.answer.empty()) return settings_.answer;
  const std::string wanted = "Proxy-Authorization: Basic " + base64(settings_.user_and_password) + "\r\n";
  if (!settings_.user_and_password.empty() && head.find(wanted) == std::string::npos)
    return "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
           "Content-Length: 0\r\n\r\n";
  const bool is_connect = head.rfind("CONNECT ", 0) == 0;
  std::string place = head.substr(head.find(' ') + 1);
  place = place.substr(0, place.find(' '));
  std::string rest;
  if (!is_connect) {
    place = place.substr(place.find("://") + 3);
    rest = place.substr(place.find('/'));
    place = place.substr(0, place.find('/'));
    if (place.find(':') == std::string::npos) place += ":80";
  }
  const auto route = settings_.routes.find(place);
  if (route != settings_.routes.end()) target = connect_to(route->second);
  if (target < 0)
    return "HTTP/1.1 502 Bad Gateway\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nContent-Length: 0\r\n\r\n";
  if (is_connect) return "HTTP/1.1 200 Connection established\r\nVia: 1.1 fake\r\n\r\n";
  forward = head.substr(0, head.find(' ')) + " " + rest + head.substr(head.find(" HTTP/"));
  return {};
}

void FakeProxy::serve_one(int fd) {
  Line line{fd};
  bool is_open = true;
  if (context_) {
    line.ssl = SSL_new(static_cast<SSL_CTX*>(context_));
    SSL_set_fd(line.ssl, fd);
    is_open = SSL_accept(line.ssl) == 1;
  }
  std::string head;
  char buffer[4096];
  while (is_open && (settings_.is_silent || head.find("\r\n\r\n") == std::string::npos)) {
    const long n = line.read(buffer, sizeof buffer);
    is_open = n > 0;
    if (is_open) head.append(buffer, static_cast<std::size_t>(n));
  }
  int target = -1;
  if (is_open) {
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(head);
    }
    std::string forward;
    const std::string answer = answer_to(head, target, forward);
    if (target >= 0) send(target, forward.data(), forward.size(), MSG_NOSIGNAL);
    if (line.write(answer) && target >= 0) line.relay(target);
  }
  if (target >= 0) close(target);
  SSL_free(line.ssl);
  std::lock_guard lock(mutex_);
  std::erase(open_, fd);
  ::close(fd);
}

}  // namespace layerd::test
