#include "daemon/setup/probe.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "daemon/config_values.h"
#include "proxy/http/parser.h"
#include "proxy/registry/manifest.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/registry_error.h"
#include "proxy/registry/text.h"
#include "runtime/digest.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

constexpr std::size_t kMostKept = registry::kMostManifestBytes;

struct Answer {
  http::ResponseHead head;
  std::string body;              // at most kMostKept
  std::uint64_t bytes = 0;       // all of it
  std::optional<Digest> digest;  // of all of it
};

// One request, one connection.
class Asking {
 public:
  Asking(const std::string& listen, std::chrono::seconds patience, std::function<bool()> is_interrupted)
      : listen_(listen), patience_(patience), is_interrupted_(std::move(is_interrupted)) {}

  Result<Answer> get(const std::string& target, const std::string& accept) {
    auto connected = connect();
    if (!connected) return std::move(connected).error();
    const std::string request = fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\nUser-Agent: layerd-setup\r\nConnection: close\r\n\r\n",
        target, listen_, accept);
    if (::send(socket_->fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
      return errno_error("cannot ask layerd at " + listen_, errno);
    return read_answer();
  }

 private:
  Result<Ok> connect() {
    auto address = parse_listen(listen_);
    if (!address) return std::move(address).error();
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(address->host.c_str(), std::to_string(address->port).c_str(), &hints, &found) != 0)
      return {Errc::config, listen_ + " is no address"};
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, &::freeaddrinfo);
    socket_ = std::make_shared<File>(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), listen_);
    const timeval wait{1, 0};  // a slice of the patience, so that an interruption is seen
    ::setsockopt(socket_->fd(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ::setsockopt(socket_->fd(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (::connect(socket_->fd(), found->ai_addr, found->ai_addrlen) != 0)
      return errno_error("layerd does not listen on " + listen_, errno, Errc::upstream_unreachable);
    return Ok{};
  }

  Result<std::size_t> more(char* buffer, std::size_t size) {
    const auto end = std::chrono::steady_clock::now() + patience_;
    for (;;) {
      if (is_interrupted_()) return {Errc::canceled, "the pull was interrupted"};
      const ssize_t n = ::recv(socket_->fd(), buffer, size, 0);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (std::chrono::steady_clock::now() < end) continue;
        return {Errc::upstream_timeout, fmt::format("layerd sent nothing for {} s", patience_.count())};
      }
      return errno_error("cannot read layerd's answer", errno, Errc::truncated);
    }
  }

  Result<Answer> read_answer() {
    http::Parser parser(http::Parser::Kind::response, {});
    Hasher hasher(DigestAlgorithm::sha256);
    Answer answer;
    char buffer[65536];
    for (;;) {
      auto got = more(buffer, sizeof buffer);
      if (!got) return std::move(got).error();
      std::size_t used = 0;
      if (!parser.head_complete()) used = parser.feed_head({buffer, *got});
      if (parser.fault())
        return {Errc::upstream_protocol,
                listen_ + " does not answer as layerd does: " + parser.fault()->message};
      if (*got == 0 && !parser.head_complete()) return {Errc::truncated, "layerd's answer ended too early"};
      const std::string_view body(buffer + used, *got - used);
      hasher.update({body.data(), body.size()});
      answer.bytes += body.size();
      if (answer.body.size() + body.size() <= kMostKept) answer.body += body;
      const bool has_length = parser.head_complete() && parser.framing() == http::Framing::length;
      const bool complete =
          parser.head_complete() && (parser.framing() == http::Framing::none ||
                                     (has_length && answer.bytes >= parser.content_length()));
      if (*got == 0 && has_length && !complete) return {Errc::truncated, "layerd broke the answer off"};
      if (*got != 0 && !complete) continue;
      answer.head = parser.response();
      answer.digest = hasher.finish();
      return answer;
    }
  }

  const std::string listen_;
  const std::chrono::seconds patience_;
  const std::function<bool()> is_interrupted_;
  FilePtr socket_;
};

std::string own_architecture() {
  utsname name{};
  ::uname(&name);
  const std::string machine = name.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine == "armv7l") return "arm";
  if (machine == "ppc64le" || machine == "s390x" || machine == "riscv64") return machine;
  return "amd64";
}

// layerd's own sentence, out of the error's JSON.
std::string words_of(const Answer& answer) {
  if (auto root = parse_json(answer.body)) {
    const Json* errors = json_find(*root, "errors");
    if (errors && errors->is_array() && !errors->empty())
      if (auto message = json_string(errors->front(), "message"); !message.empty())
        return printable(message, 300);
  }
  return printable(answer.head.reason, 200);
}

class Probe {
 public:
  Probe(Asking asking, registry::ImageName image) : asking_(std::move(asking)), image_(std::move(image)) {}

  Result<Pulled> run() {
    auto manifest = object("manifests", image_.reference(), registry::full_accept());
    if (!manifest) return std::move(manifest).error();
    Pulled pulled{image_.str(), 0, std::string(manifest->head.headers.get("Layerd-Source").value_or(""))};
    for (int depth = 0; depth < registry::kMostIndexDepth; ++depth) {
      auto info =
          registry::parse_manifest(manifest->body, manifest->head.headers.get("Content-Type").value_or(""));
      if (!info) return std::move(info).error();
      pulled.bytes += manifest->bytes;
      if (!info->is_index) return blobs(*info, std::move(pulled));
      auto child = child_of(manifest->body, *info);
      if (!child) return std::move(child).error();
      manifest = object("manifests", child->str(), registry::full_accept());
      if (!manifest) return std::move(manifest).error();
    }
    return {Errc::upstream_protocol, image_.str() + ": an index in an index in an index"};
  }

 private:
  Result<Answer> object(const char* kind, const std::string& reference, std::string_view accept) {
    auto answer = asking_.get(fmt::format("/v2/{}/{}/{}?ns={}", image_.repository, kind, reference,
                                          registry::percent_encode(image_.registry)),
                              std::string(accept));
    if (!answer) return answer;
    if (answer->head.status != 200) {
      Error error{Errc::upstream_status, fmt::format("{}: layerd answers {}: {}", image_.str(),
                                                     answer->head.status, words_of(*answer))};
      error.status = answer->head.status;
      return error;
    }
    auto wanted = Digest::parse(reference);
    if (wanted && wanted->algorithm() == DigestAlgorithm::sha256 && *answer->digest != *wanted)
      return {Errc::digest_mismatch,
              fmt::format("{}: the bytes of {} are the wrong ones", image_.str(), reference)};
    return answer;
  }

  static Result<Digest> child_of(const std::string& body, const registry::ManifestInfo& info) {
    const auto root = parse_json(body);
    const Json* list = root ? json_find(*root, "manifests") : nullptr;
    for (const auto& row : list && list->is_array() ? *list : Json::array()) {
      const Json* platform = json_find(row, "platform");
      if (!platform || json_string(*platform, "architecture") != own_architecture() ||
          json_string(*platform, "os") != "linux")
        continue;
      if (auto digest = Digest::parse(json_string(row, "digest"))) return digest;
    }
    if (!info.descriptors.empty()) return info.descriptors.front().digest;
    return {Errc::upstream_protocol, "the index lists no manifest"};
  }

  Result<Pulled> blobs(const registry::ManifestInfo& info, Pulled pulled) {
    const registry::Descriptor* smallest = nullptr;
    for (const auto& each : info.descriptors) {
      if (each.role == registry::DescriptorRole::layer && (!smallest || each.size < smallest->size))
        smallest = &each;
      if (each.role != registry::DescriptorRole::config) continue;
      auto config = object("blobs", each.digest.str(), "*/*");
      if (!config) return std::move(config).error();
      pulled.bytes += config->bytes;
    }
    if (!smallest) return pulled;
    auto layer = object("blobs", smallest->digest.str(), "*/*");
    if (!layer) return std::move(layer).error();
    pulled.bytes += layer->bytes;
    return pulled;
  }

  Asking asking_;
  registry::ImageName image_;
};

}  // namespace

Result<Pulled> pull_through(const std::string& listen, const std::string& image,
                            std::chrono::seconds patience, const std::function<bool()>& is_interrupted) {
  auto name = registry::parse_image_name(image);
  if (!name) return std::move(name).error();
  return Probe(Asking(listen, patience, is_interrupted), std::move(*name)).run();
}

}  // namespace layerd::daemon::setup
