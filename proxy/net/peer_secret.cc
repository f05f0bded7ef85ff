#include "proxy/net/peer_secret.h"

#include <fmt/core.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <optional>

#include "runtime/guarded_file.h"

namespace layerd::net {
namespace {

constexpr std::size_t kLeastDistinct = 12;  // of 32 random bytes fewer than 20 differ once in 10^9
constexpr const char* kMakeOne = "make one with: layerd peers secret -o FILE";

Error bad(std::string message) { return {Errc::config, std::move(message)}; }

Error unreadable(const std::string& path, const Error& cause) {
  const std::string remedy =
      cause.sys_errno == ENOENT
          ? fmt::format("; copy it from another node, or for a new site: layerd peers secret -o {}", path)
          : "";
  return {Errc::config, fmt::format("peers.secret_file: {}{}", cause.message, remedy), cause.sys_errno};
}

std::string hmac(std::string_view key, std::string_view label) {
  std::array<unsigned char, 32> out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(label.data()), label.size(), out.data(), &size);
  LAYERD_CHECK(size == out.size());
  std::string result(reinterpret_cast<const char*>(out.data()), out.size());
  OPENSSL_cleanse(out.data(), out.size());
  return result;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

std::optional<std::string> from_base64(std::string_view text) {
  for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>((bits >> count) & 0xff));
  }
  return bytes;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::size_t distinct(std::string_view bytes) {
  std::bitset<256> seen;
  for (const char c : bytes) seen.set(static_cast<unsigned char>(c));
  return seen.count();
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

PeerSecret::PeerSecret(std::string_view bytes)
    : name_(hex(hmac(bytes, "layerd peers 1 name").substr(0, 8))), key_(hmac(bytes, "layerd peers 1 key")) {}

PeerSecret::~PeerSecret() { OPENSSL_cleanse(key_.data(), key_.size()); }

Result<PeerSecret> PeerSecret::parse(std::string_view line) {
  auto bytes = from_hex(line);
  if (!bytes) bytes = from_base64(line);
  if (!bytes) return bad(fmt::format("it is neither base64 nor hex; {}", kMakeOne));
  if (bytes->size() < kLeastBytes)
    return bad(fmt::format("it has {} bytes and {} are the least; {}", bytes->size(), kLeastBytes, kMakeOne));
  if (bytes->size() > kMostBytes)
    return bad(fmt::format("it has more than {} bytes; {}", kMostBytes, kMakeOne));
  if (distinct(*bytes) < kLeastDistinct) return bad(fmt::format("it is not random; {}", kMakeOne));
  PeerSecret secret(*bytes);
  OPENSSL_cleanse(bytes->data(), bytes->size());
  return secret;
}

Result<std::vector<PeerSecret>> PeerSecret::parse_all(std::string_view text) {
  std::vector<PeerSecret> secrets;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = trim(text.substr(0, text.find('\n')));
    text.remove_prefix(
        std::min(text.size(), text.find('\n') == std::string_view::npos ? text.size() : text.find('\n') + 1));
    if (line.empty() || line.front() == '#') continue;
    if (secrets.size() == kMostSecrets)
      return bad(fmt::format("line {}: more than {} secrets; remove those no node offers any more", number,
                             kMostSecrets));
    auto secret = parse(line);
    if (!secret) return bad(fmt::format("line {}: {}", number, secret.error().message));
    secrets.push_back(std::move(*secret));
  }
  if (secrets.empty()) return bad(fmt::format("no secret in it; {}", kMakeOne));
  return secrets;
}

Result<std::vector<PeerSecret>> PeerSecret::read(const std::string& path) {
  auto file = open_guarded(path);
  if (!file) return unreadable(path, file.error());
  struct stat found {};
  if (::fstat((*file)->fd(), &found) == 0 && (found.st_mode & 0007) != 0)
    return bad(
        fmt::format("peers.secret_file: {} may be read or written by everybody (mode {:04o}): chmod o= {}",
                    path, found.st_mode & 07777U, path));
  auto text = read_all(**file, kMostFile);
  if (!text) return unreadable(path, text.error());
  auto secrets = parse_all(*text);
  OPENSSL_cleanse(text->data(), text->size());
  if (!secrets) return bad(fmt::format("peers.secret_file: {}: {}", path, secrets.error().message));
  return secrets;
}

std::string PeerSecret::make() {
  std::array<unsigned char, kLeastBytes> bytes{};
  LAYERD_CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  std::array<unsigned char, 4 * ((kLeastBytes + 2) / 3) + 1> text{};
  const int size = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return std::string(reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size));
}

}  // namespace layerd::net
