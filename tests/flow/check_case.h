// What the cases of `layerd check` start from: layerd with a configuration of the case, servers that go wrong
// in one way, and the comparison of the diagnosis with the pull's own error and with the log.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <optional>

#include "tests/flow/flow.h"
#include "tests/support/checked.h"
#include "tests/support/tls_server.h"

namespace layerd::test {

inline constexpr const char* kImage = "registry.test/team/app:1";

struct Case {
  TempDir dir{"layerd-case"};
  std::optional<LayerdDaemon> layerd;

  ~Case() {
    if (!layerd) return;
    if (layerd->process().running()) CHECK(layerd->stop() == 0);
    CHECK(layerd->complaints() == "");
    if (std::uncaught_exceptions() > 0) WARN(layerd->log());
  }
  void start(const std::string& more) {
    layerd.emplace(DaemonSettings{LAYERD_BINARY_DIR "/layerd", dir.path(), more});
  }
  void start_at(const std::string& endpoint, const std::string& more = "") {
    start(fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n",
                      endpoint) +
          more);
  }
  std::string file(const std::string& name, const std::string& text) {
    write_text(dir / name, text);
    ::chmod((dir / name).c_str(), 0600);
    return dir / name;
  }

  // The diagnosis, the pull's and the log's.
  Checked expect(const std::string& code, const std::string& name = kImage,
                 const std::string& target = Flow::manifest("1"), const std::string& pulled_code = "") {
    const Checked walked = check(*layerd, name);
    INFO(walked.output);
    CHECK(walked.status == 1);
    CHECK(walked.code() == code);
    CHECK_FALSE(walked.cause().empty());
    CHECK_FALSE(walked.remedy().empty());
    for (const char* word :
         {"{host}", "{registry}", "{repository}", "{reference}", "{source}", "{other_scheme}"})
      CHECK((walked.remedy() + walked.cause()).find(word) == std::string::npos);
    const ProbeReply reply = layerd->get(target);
    INFO(reply.status << " " << reply.reason << " " << reply.body);
    const auto expected = pulled_code.empty() ? code : pulled_code;
    CHECK(code_in(reply) == expected);
    CHECK(eventually([&] { return layerd->log().find("diagnosis=" + expected) != std::string::npos; }));
    return walked;
  }
};

// A registry behind TLS with a certificate of one's own making.
struct SecureRegistry {
  explicit SecureRegistry(Case& at, CertificateWish wish, bool by_authority = true)
      : authority(Identity::make({.common_name = "the site's CA", .is_authority = true})),
        own(Identity::make(std::move(wish), by_authority ? &authority : nullptr)),
        registry(Certificate{at.file("own.crt", own.certificate), at.file("own.key", own.key)}) {
    ca_file = at.file("ca.crt", authority.certificate);
  }
  std::string trust(const std::string& host) const {
    return fmt::format("configs: {{\"{}:{}\": {{tls: {{ca_file: {}}}}}}}\n", host, registry.port(), ca_file);
  }
  std::string at(const std::string& host) const {
    return fmt::format("https://{}:{}", host, registry.port());
  }

  Identity authority, own;
  FaultyUpstream registry;
  std::string ca_file;
};

// "Sun, 06 Nov 1994 08:49:37 GMT", so many seconds from now.
inline std::string http_date(std::time_t from_now) {
  const std::time_t at = std::time(nullptr) + from_now;
  std::tm parts{};
  gmtime_r(&at, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

// Listens and never accepts: connecting to it never ends once its queue is full.
struct BlackHole {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::vector<int> fillers;
  sockaddr_in address{};
  BlackHole() {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(listener, 0) == 0);
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    for (int i = 0; i < 4; ++i) {
      fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(fillers.back(), reinterpret_cast<sockaddr*>(&address), length);
    }
  }
  ~BlackHole() {
    for (const int fd : fillers) ::close(fd);
    ::close(listener);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port)); }
};

}  // namespace layerd::test
