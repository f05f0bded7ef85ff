#include "tests/support/blocking_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace layerd::test {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// Splits the head into request line and headers. False when it is no HTTP request.
bool parse_head(const std::string& head, ServerRequest& request) {
  const std::size_t line_end = head.find("\r\n");
  const std::size_t method_end = head.find(' ');
  const std::size_t target_end = head.find(' ', method_end + 1);
  if (method_end == std::string::npos || target_end == std::string::npos || target_end > line_end)
    return false;
  request.method = head.substr(0, method_end);
  request.target = head.substr(method_end + 1, target_end - method_end - 1);
  for (std::size_t at = line_end + 2; at < head.size();) {
    std::size_t end = head.find("\r\n", at);
    if (end == std::string::npos) end = head.size();
    const std::size_t colon = head.find(':', at);
    if (colon != std::string::npos && colon < end) {
      const std::size_t value = head.find_first_not_of(' ', colon + 1);
      request.headers[lower(head.substr(at, colon - at))] =
          value < end ? head.substr(value, end - value) : "";
    }
    at = end + 2;
  }
  return true;
}

}  // namespace

std::string ServerRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::string ServerRequest::query(const std::string& key) const {
  const std::size_t mark = target.find('?');
  std::string_view rest =
      mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.starts_with(key + "=")) return percent_decoded(pair.substr(key.size() + 1));
  }
  return "";
}

bool ServerConnection::start_tls(SSL_CTX* context) {
  ssl_ = SSL_new(context);
  SSL_set_fd(ssl_, fd_);
  if (SSL_accept(ssl_) != 1) return false;
  if (SSL_session_reused(ssl_) != 0) ++server_.resumed_;
  return true;
}

int ServerConnection::read(char* into, int size) {
  if (ssl_ != nullptr) return SSL_read(ssl_, into, size);
  return static_cast<int>(recv(fd_, into, static_cast<std::size_t>(size), 0));
}

bool ServerConnection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (server_.stopping_) return false;
    const int part = static_cast<int>(std::min<std::size_t>(bytes.size(), 64 * 1024));
    const int sent =
        ssl_ != nullptr
            ? SSL_write(ssl_, bytes.data(), part)
            : static_cast<int>(send(fd_, bytes.data(), static_cast<std::size_t>(part), MSG_NOSIGNAL));
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool ServerConnection::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(server_.mutex_);
  server_.wake_.wait_for(lock, time, [&] { return server_.stopping_.load(); });
  if (server_.stopping_) return false;
  lock.unlock();
  // A client that has hung up ends the wait of whoever asks in a loop.
  pollfd watched{fd_, POLLRDHUP, 0};
  return poll(&watched, 1, 0) == 0;
}

void ServerConnection::cut(bool reset) {
  if (reset) {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return;
  }
  shutdown(fd_, SHUT_WR);
  // Unread bytes at close would turn the FIN into a reset.
  pollfd watched{fd_, POLLIN, 0};
  char scrap[4096];
  while (poll(&watched, 1, 200) > 0 && recv(fd_, scrap, sizeof scrap, 0) > 0) {
  }
}

bool ServerConnection::read_request(ServerRequest& request) {
  char buffer[16 * 1024];
  std::size_t end;
  while ((end = unread_.find("\r\n\r\n")) == std::string::npos) {
    const int got = read(buffer, sizeof buffer);
    if (got <= 0 || unread_.size() > 256 * 1024) return false;
    unread_.append(buffer, static_cast<std::size_t>(got));
  }
  request = {};
  request.connection = number_;
  if (!parse_head(unread_.substr(0, end), request)) return false;
  unread_.erase(0, end + 4);
  const std::string length = request.header("content-length");
  const std::size_t wanted = length.empty() ? 0 : std::stoul(length);
  while (unread_.size() < wanted) {
    const int got = read(buffer, sizeof buffer);
    if (got <= 0) return false;
    unread_.append(buffer, static_cast<std::size_t>(got));
  }
  request.body = unread_.substr(0, wanted);
  unread_.erase(0, wanted);
  return true;
}

void ServerConnection::close() {
  if (ssl_ != nullptr) {
    SSL_set_quiet_shutdown(ssl_, 1);
    SSL_shutdown(ssl_);
    SSL_free(ssl_);
  }
  ::close(fd_);
}

BlockingServer::BlockingServer(Handler handler, std::optional<Certificate> certificate, std::uint16_t port)
    : handler_(std::move(handler)) {
  if (certificate) {
    context_ = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context_, certificate->cert_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_, certificate->key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      throw std::runtime_error("cannot load " + certificate->cert_file);
    }
  }
  listen_on(port);
}

BlockingServer::~BlockingServer() {
  go_away();
  SSL_CTX_free(context_);
}

void BlockingServer::listen_on(std::uint16_t port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 512) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("cannot listen on 127.0.0.1");
  }
  port_ = ntohs(address.sin_port);
  stopping_ = false;
  acceptor_ = std::thread([this] { accept_all(); });
}

void BlockingServer::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    std::lock_guard lock(mutex_);
    if (stopping_) {
      close(fd);
      return;
    }
    // Small buffers: the counted bytes are then close to what the client really took.
    const int buffer = 256 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    const int number = ++connections_;
    most_ = std::max(most_.load(), ++now_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number] { serve(fd, number); });
  }
}

void BlockingServer::serve(int fd, int number) {
  ServerConnection connection(*this, fd, number);
  ServerRequest request;
  if (context_ == nullptr || connection.start_tls(context_)) {
    while (!stopping_ && connection.read_request(request) && handler_(request, connection)) {
    }
  }
  std::lock_guard lock(mutex_);
  open_.remove(fd);
  --now_;
  connection.close();
}

void BlockingServer::go_away() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  wake_.notify_all();
  if (acceptor_.joinable()) {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
  }
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void BlockingServer::come_back() { listen_on(port_); }

}  // namespace layerd::test
