// Certificates made on the spot, and a TLS server over blocking sockets, a thread for each connection.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace layerd::test {

struct CertificateWish {
  std::string common_name = "test";
  std::vector<std::string> names = {};  // "DNS:a.example", "IP:127.0.0.1"
  int from_days = -1, to_days = 30;     // validity, from today
  bool is_authority = false;
  bool names_issuer_url = false;  // has an authority information access extension
};

// A certificate and its key, PEM.
struct Identity {
  std::string certificate, key;
  // Signed by `issuer`, or by itself.
  static Identity make(const CertificateWish& wish, const Identity* issuer = nullptr);
};

struct TlsServerSettings {
  std::string chain, key;  // PEM; the chain begins with the server's own certificate
  std::string client_ca;   // PEM; not empty: a client certificate is required
  int most_version = 0;    // e.g. TLS1_1_VERSION; 0: the newest
};

// Serves on 127.0.0.1 until destroyed. `talk` gets a way to read (0: the
// end) and to write everything.
class TlsServer {
 public:
  struct Line {
    std::function<std::size_t(char*, std::size_t)> read;
    std::function<bool(const void*, std::size_t)> write;
  };
  using Talk = std::function<void(Line&)>;
  TlsServer(const TlsServerSettings& settings, Talk talk);
  ~TlsServer();
  unsigned short port() const { return port_; }
  int handshakes() const { return handshakes_; }
  int resumed() const { return resumed_; }
  std::string last_sni();

 private:
  void serve();
  void serve_one(int fd);
  struct Context;
  std::unique_ptr<Context> context_;
  Talk talk_;
  int listener_ = -1;
  unsigned short port_ = 0;
  std::atomic<int> handshakes_{0}, resumed_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::string sni_;                 // guarded by mutex_
  std::vector<int> open_;           // guarded by mutex_
  std::vector<std::thread> talks_;  // of the accepting thread until it has ended
  std::thread thread_;
};

}  // namespace layerd::test
