// A small blocking HTTP client that reports what really came over the wire: a body that ends early, a reset,
// the time of the first byte. It judges nothing by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace layerd::test {

struct ProbeRequest {
  std::uint16_t port = 0;
  std::string target;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string method = "GET";
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
  std::size_t hang_up_after = SIZE_MAX;  // closes after so many body bytes
  std::size_t bytes_per_second = 0;      // reads slowly; 0: as fast as it can
};

struct ProbeReply {
  int status = 0;  // 0: no head came
  std::string reason;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  bool complete = false;   // every byte that Content-Length (or the last chunk) promised is there
  bool reset = false;      // the connection ended with an error and not with FIN
  bool timed_out = false;  // nothing more came in time
  std::chrono::milliseconds first_byte{0};  // of the body
  std::chrono::milliseconds total{0};

  std::string header(const std::string& name) const;
};

ProbeReply probe(const ProbeRequest& request);

// One connection kept open, for pipelining and for raw bytes.
class ProbeConnection {
 public:
  explicit ProbeConnection(std::uint16_t port);
  ~ProbeConnection();
  ProbeConnection(const ProbeConnection&) = delete;
  ProbeConnection& operator=(const ProbeConnection&) = delete;

  bool send(std::string_view bytes);
  // head_only: the answer to a HEAD has no body whatever its length says.
  ProbeReply read(bool head_only = false, const ProbeRequest& limits = {});
  // All that comes until the other side closes or `timeout` passes.
  std::string read_raw(std::chrono::milliseconds timeout);

 private:
  enum class Got { bytes, end, error, timeout };
  Got more(std::chrono::steady_clock::time_point end, std::size_t most);
  bool read_head(ProbeReply& reply, std::chrono::steady_clock::time_point end);
  void read_body(ProbeReply& reply, const ProbeRequest& limits, std::chrono::steady_clock::time_point end);
  void note(ProbeReply& reply, Got got);

  int fd_ = -1;
  std::string unread_;
};

}  // namespace layerd::test
