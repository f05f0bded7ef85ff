// bench_load: what a crowd of HTTP clients sees of one server. One thread, epoll; blob bodies are read
// with MSG_TRUNC so that the client costs next to nothing beside the server under test.
//
//   bench_load stream  HOST PORT TARGET CLIENTS SECONDS     GETs again and again: bytes and rate
//   bench_load small   HOST PORT TARGET CLIENTS SECONDS [HEAD]   requests per second, p50, p99
//   bench_load once    HOST PORT TARGET CLIENTS             each client GETs once: first byte, last byte
//   bench_load hold    HOST PORT TARGET CLIENTS SECONDS RATE     each client reads RATE bytes/s for SECONDS
// Prints one JSON object.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double now_seconds() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

struct Options {
  std::string mode, host, target;
  std::uint16_t port = 0;
  int clients = 1;
  double seconds = 0, rate = 0;
  bool head = false;
};

struct Connection {
  int fd = -1;
  std::string request;
  std::string head;        // of the answer, until it is complete
  std::uint64_t left = 0;  // body bytes still to come
  bool in_body = false;
  double asked = 0, first_byte = 0, done = 0;
  std::uint64_t got = 0;
  double allowance_from = 0;  // hold: when reading began
};

class Load {
 public:
  explicit Load(Options options) : options_(std::move(options)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  // TARGET may hold one "{i}": the number of the client, or the line of that number in the file $BENCH_LINES.
  std::string request_of(int client) const {
    std::string target = options_.target;
    if (const std::size_t at = target.find("{i}"); at != std::string::npos)
      target.replace(
          at, 3,
          lines_.empty() ? std::to_string(client) : lines_[static_cast<std::size_t>(client) % lines_.size()]);
    return (options_.head ? "HEAD " : "GET ") + target + " HTTP/1.1\r\nHost: " + options_.host + ":" +
           std::to_string(options_.port) + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
  }

  void read_lines(const std::string& path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines_.push_back(line);
  }

  int run() {
    connections_.resize(static_cast<std::size_t>(options_.clients));
    begin_ = now_seconds();
    for (std::size_t i = 0; i < connections_.size(); ++i) open(connections_[i], static_cast<int>(i));
    end_ = options_.seconds > 0 ? begin_ + options_.seconds : 1e18;
    while (now_seconds() < end_ && unfinished()) turn();
    report();
    return failed_ ? 1 : 0;
  }

 private:
  bool repeats() const { return options_.mode == "stream" || options_.mode == "small"; }
  bool unfinished() const {
    return std::any_of(connections_.begin(), connections_.end(),
                       [](const Connection& c) { return c.fd >= 0; });
  }

  void open(Connection& connection, int client) {
    connection = Connection{};
    connection.request = request_of(client);
    connection.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(options_.port);
    ::inet_pton(AF_INET, options_.host.c_str(), &to.sin_addr);
    const int small = 65536, on = 1;
    if (options_.mode == "hold") ::setsockopt(connection.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(connection.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      std::perror("bench_load: connect");
      std::exit(1);
    }
    ::fcntl(connection.fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &connection;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
    ask(connection);
  }

  void ask(Connection& connection) {
    connection.head.clear();
    connection.in_body = false;
    connection.asked = now_seconds();
    connection.allowance_from = connection.asked;
    connection.got = 0;
    if (::send(connection.fd, connection.request.data(), connection.request.size(), MSG_NOSIGNAL) < 0)
      fail(connection, "send");
  }

  void fail(Connection& connection, const char* what) {
    if (!failed_) std::fprintf(stderr, "bench_load: %s: %s\n", what, std::strerror(errno));
    failed_ = true;
    ::close(connection.fd);
    connection.fd = -1;
  }

  void turn() {
    epoll_event events[256];
    const int n = ::epoll_wait(epoll_, events, 256, 50);
    for (int i = 0; i < n; ++i) serve(*static_cast<Connection*>(events[i].data.ptr));
    if (options_.mode == "hold") ::usleep(20000);
  }

  void serve(Connection& connection) {
    if (connection.fd < 0) return;
    if (!connection.in_body && !read_head(connection)) return;
    if (connection.in_body) read_body(connection);
  }

  bool read_head(Connection& connection) {
    char buffer[4096];
    const ssize_t peeked = ::recv(connection.fd, buffer, sizeof buffer, MSG_PEEK);
    if (peeked < 0 && errno == EAGAIN) return false;
    if (peeked <= 0) return fail(connection, "the server closed before an answer"), false;
    const std::size_t before = connection.head.size();
    connection.head.append(buffer, static_cast<std::size_t>(peeked));
    const std::size_t end = connection.head.find("\r\n\r\n");
    const std::size_t take = end == std::string::npos ? static_cast<std::size_t>(peeked) : end + 4 - before;
    static_cast<void>(::recv(connection.fd, buffer, take, 0));
    if (end == std::string::npos) return false;
    connection.head.resize(end);
    if (connection.head.compare(9, 1, "2") != 0) {
      std::fprintf(stderr, "bench_load: %s\n", connection.head.substr(0, connection.head.find('\r')).c_str());
      return fail(connection, "status"), false;
    }
    connection.left = options_.head ? 0 : content_length(connection.head);
    connection.in_body = true;
    connection.first_byte = 0;
    if (connection.left == 0) finish(connection);
    return connection.in_body;
  }

  static std::uint64_t content_length(std::string head) {
    std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t at = head.find("\r\ncontent-length:");
    return at == std::string::npos ? 0 : std::strtoull(head.c_str() + at + 17, nullptr, 10);
  }

  void read_body(Connection& connection) {
    static char sink[1 << 20];
    for (int reads = 0; connection.left > 0 && reads < 16; ++reads) {
      std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(connection.left, sizeof sink));
      if (options_.mode == "hold") {
        const double allowed = (now_seconds() - connection.allowance_from) * options_.rate;
        if (static_cast<double>(connection.got) >= allowed) return;
        want = std::min<std::size_t>(
            want, static_cast<std::size_t>(allowed - static_cast<double>(connection.got)) + 1);
      }
      const ssize_t n = ::recv(connection.fd, sink, want, want > 4096 ? MSG_TRUNC : 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return fail(connection, "the body broke off");
      if (connection.got == 0) connection.first_byte = now_seconds();
      connection.got += static_cast<std::uint64_t>(n);
      connection.left -= static_cast<std::uint64_t>(n);
      bytes_ += static_cast<std::uint64_t>(n);
    }
    if (connection.left == 0) finish(connection);
  }

  void finish(Connection& connection) {
    connection.done = now_seconds();
    ++answers_;
    if (options_.mode == "small") latencies_.push_back(connection.done - connection.asked);
    if (repeats()) return ask(connection);
    ::close(connection.fd);
    connection.fd = -1;
  }

  void report() {
    const double took = now_seconds() - begin_;
    std::sort(latencies_.begin(), latencies_.end());
    auto quantile = [&](double q) {
      return latencies_.empty()
                 ? 0.0
                 : latencies_[static_cast<std::size_t>(q * static_cast<double>(latencies_.size() - 1))];
    };
    double first = 1e18, first_last = 0, last = 0;
    for (const auto& connection : connections_) {
      if (connection.first_byte > 0) first = std::min(first, connection.first_byte - begin_);
      if (connection.first_byte > 0) first_last = std::max(first_last, connection.first_byte - begin_);
      last = std::max(last, connection.done - begin_);
    }
    std::printf(
        "{\"seconds\": %.6f, \"bytes\": %llu, \"answers\": %llu, \"p50\": %.9f, \"p99\": %.9f, "
        "\"first_byte\": %.6f, \"last_first_byte\": %.6f, \"last_done\": %.6f, \"failed\": %s}\n",
        took, static_cast<unsigned long long>(bytes_), static_cast<unsigned long long>(answers_),
        quantile(0.5), quantile(0.99), first > 1e17 ? -1.0 : first, first_last, last,
        failed_ ? "true" : "false");
  }

  Options options_;
  int epoll_;
  std::vector<std::string> lines_;
  std::vector<Connection> connections_;
  std::vector<double> latencies_;
  double begin_ = 0, end_ = 0;
  std::uint64_t bytes_ = 0, answers_ = 0;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fprintf(stderr,
                 "usage: bench_load stream|small|once|hold HOST PORT TARGET CLIENTS [SECONDS] [RATE|HEAD]\n");
    return 2;
  }
  Options options;
  options.mode = argv[1];
  options.host = argv[2];
  options.port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  options.target = argv[4];
  options.clients = std::atoi(argv[5]);
  if (argc > 6) options.seconds = std::atof(argv[6]);
  if (argc > 7 && options.mode == "hold") options.rate = std::atof(argv[7]);
  if (argc > 7 && options.mode == "small") options.head = std::strcmp(argv[7], "HEAD") == 0;
  Load load(std::move(options));
  if (const char* file = std::getenv("BENCH_LINES")) load.read_lines(file);
  return load.run();
}
