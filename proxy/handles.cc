#include "proxy/handles.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "proxy/registry/text.h"

namespace layerd::proxy {
namespace {

constexpr std::string_view kFormat = "layerd1";

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

void put(std::string& out, std::string_view text) {
  out += fmt::format("{}:", text.size());
  out += text;
}

// Texts written by put(), one after the other; nothing when it is none of that.
std::optional<std::string> take(std::string_view& text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon > 6) return std::nullopt;
  const auto size = registry::parse_digits(text.substr(0, colon));
  if (!size || *size > text.size() - colon - 1) return std::nullopt;
  std::string value(text.substr(colon + 1, *size));
  text.remove_prefix(colon + 1 + *size);
  return value;
}

// RFC 4648 §5 without padding: what a header and a query take as it is.
std::string base64url(std::string_view bytes) {
  static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t held = 0;
  int bits = 0;
  for (const char c : bytes) {
    held = (held << 8) | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) out += kLetters[(held >> (bits - 6)) & 63];
  }
  if (bits > 0) out += kLetters[(held << (6 - bits)) & 63];
  return out;
}

std::optional<std::string> unbase64url(std::string_view text) {
  std::string plain(text);
  for (char& c : plain) c = c == '-' ? '+' : c == '_' ? '/' : c;
  return registry::decode_base64(plain);
}

std::string_view without_scheme(std::string_view authorization, std::string_view scheme) {
  if (!registry::starts_with_nocase(authorization, scheme)) return {};
  authorization.remove_prefix(scheme.size());
  return registry::trim(authorization);
}

struct Content {
  std::int64_t expires_at = 0;
  registry::Credentials credentials;
  std::vector<std::string> repositories;
};

std::optional<Content> read_content(std::string_view text) {
  const auto format = take(text), expires = take(text), user = take(text), password = take(text),
             token = take(text);
  if (!format || *format != kFormat || !expires || !user || !password || !token) return std::nullopt;
  const auto expires_at = registry::parse_digits(*expires);
  if (!expires_at) return std::nullopt;
  Content content;
  content.expires_at = static_cast<std::int64_t>(*expires_at);
  content.credentials.username = *user;
  content.credentials.password = *password;
  content.credentials.identity_token = *token;
  while (!text.empty()) {
    auto repository = take(text);
    if (!repository) return std::nullopt;
    content.repositories.push_back(std::move(*repository));
  }
  return content;
}

}  // namespace

registry::Credentials read_basic(std::string_view authorization) {
  registry::Credentials credentials;
  const auto encoded = without_scheme(authorization, "Basic ");
  if (encoded.empty() || encoded.size() > kMostCredentialBytes / 3 * 4) return credentials;
  const auto plain = registry::decode_base64(encoded);
  const auto colon = plain ? plain->find(':') : std::string::npos;
  if (colon == std::string::npos) return credentials;
  credentials.username = plain->substr(0, colon);
  credentials.password = plain->substr(colon + 1);
  if (credentials.username.empty()) credentials.identity_token = std::exchange(credentials.password, {});
  return credentials;
}

std::string Handles::make(const registry::Credentials& credentials,
                          const std::vector<cache::RepositoryKey>& repositories, WallTime now) const {
  std::string content;
  put(content, kFormat);
  put(content, fmt::format("{}", seconds_of(now + kHandleLife)));
  for (const auto* part : {&credentials.username, &credentials.password, &credentials.identity_token})
    put(content, *part);
  for (const auto& repository : repositories) put(content, repository);
  return base64url(key_.seal(content));
}

Presentation Handles::read(const http::Headers& headers, const cache::RepositoryKey& repository,
                           WallTime now) const {
  const auto authorization = headers.get("Authorization");
  if (!authorization || registry::trim(*authorization).empty()) return {};
  if (auto credentials = read_basic(*authorization); !credentials.empty())
    return {Presented::given, std::move(credentials)};
  const auto bearer = without_scheme(*authorization, "Bearer ");
  const auto sealed = bearer.empty() ? std::nullopt : unbase64url(bearer);
  const auto plain = sealed ? key_.open(*sealed) : std::nullopt;
  auto content = plain ? read_content(*plain) : std::nullopt;
  if (!content || seconds_of(now) >= content->expires_at) return {Presented::unknown};
  const auto& named = content->repositories;
  if (!repository.empty() && std::find(named.begin(), named.end(), repository) == named.end())
    return {Presented::unknown};
  if (content->credentials.empty()) return {Presented::anonymous};
  return {Presented::given, std::move(content->credentials)};
}

registry::AskAs Handles::as_client(registry::Credentials credentials) const {
  std::string all;
  for (const auto* part : {&credentials.username, &credentials.password, &credentials.identity_token})
    put(all, *part);
  credentials.source = "the client";
  return {registry::AskAs::Who::client, std::move(credentials), key_.name_of(all)};
}

}  // namespace layerd::proxy
