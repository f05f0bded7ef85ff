#include "proxy/registry/challenge.h"

#include <algorithm>

#include "proxy/registry/text.h"

namespace layerd::registry {

namespace {

constexpr std::size_t kMostBytes = 16384;
constexpr std::size_t kMostChallenges = 16;
constexpr std::size_t kMostParams = 32;

bool is_token_char(char c) {
  return is_alnum(c) || (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}
bool is_token68_char(char c) {
  return is_alnum(c) || (c != '\0' && std::string_view("-._~+/").find(c) != std::string_view::npos);
}

// Reads one header line from left to right; every step moves forward.
class Reader {
 public:
  Reader(std::string_view text, std::vector<Challenge>& out) : text_(text), out_(out) {}

  void run() {
    // Parameters belong to a scheme of the same line.
    const std::size_t before = out_.size();
    while (skip_separators(), at_ < text_.size()) {
      const auto word = take_while(is_token_char);
      if (word.empty()) {
        skip_to_comma();
      } else if (const auto mark = at_; skip_spaces(), next_is('=')) {
        ++at_;
        const std::string value = take_value();
        if (out_.size() > before) add_param(word, value);
      } else {
        at_ = mark;
        if (out_.size() >= kMostChallenges) return;
        out_.push_back({lower_case(word), {}, {}});
        take_token68();
      }
    }
  }

 private:
  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  void skip_spaces() {
    while (next_is(' ') || next_is('\t')) ++at_;
  }
  void skip_separators() {
    while (next_is(' ') || next_is('\t') || next_is(',')) ++at_;
  }
  void skip_to_comma() { at_ = std::min(text_.find(',', at_), text_.size()); }

  template <class Is>
  std::string_view take_while(Is is) {
    const auto begin = at_;
    while (at_ < text_.size() && is(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  // A quoted string, or everything up to the next comma or space: bare URLs occur.
  std::string take_value() {
    skip_spaces();
    if (!next_is('"'))
      return std::string(take_while([](char c) { return c != ',' && c != ' ' && c != '\t'; }));
    std::string value;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      value += text_[at_];
    }
    if (at_ < text_.size()) ++at_;
    return value;
  }

  // What follows the scheme up to a comma or the end, if it is one token68 and no parameter.
  void take_token68() {
    const auto mark = at_;
    skip_spaces();
    const auto begin = at_;
    take_while(is_token68_char);
    take_while([](char c) { return c == '='; });
    const auto text = text_.substr(begin, at_ - begin);
    skip_spaces();
    if (!text.empty() && (at_ == text_.size() || next_is(',')))
      out_.back().token68 = std::string(text);
    else
      at_ = mark;
  }

  void add_param(std::string_view name, std::string value) {
    auto& params = out_.back().params;
    if (params.size() < kMostParams) params.emplace_back(lower_case(name), std::move(value));
  }

  std::string_view text_;
  std::vector<Challenge>& out_;
  std::size_t at_ = 0;
};

// Path and query of "null://host:5005/v2/token", "http://inside/service/token".
std::string_view path_of_realm(std::string_view realm) {
  const auto authority = realm.find("://");
  if (authority == std::string_view::npos) return {};
  const auto path = realm.find('/', authority + 3);
  return path == std::string_view::npos ? std::string_view() : realm.substr(path);
}

bool is_usable_realm(std::string_view realm) {
  if (realm.empty()) return false;
  if (starts_with_nocase(realm, "null://")) return path_of_realm(realm).size() > 1;
  if (starts_with_nocase(realm, "https://") || starts_with_nocase(realm, "http://")) return true;
  const auto colon = realm.find(':');
  return colon == std::string_view::npos ? realm.front() == '/' : realm.find('/') < colon;
}

}  // namespace

std::string_view Challenge::param(std::string_view name) const {
  for (const auto& [key, value] : params)
    if (key == name) return value;
  return {};
}

std::vector<Challenge> parse_challenges(const std::vector<std::string_view>& lines) {
  std::vector<Challenge> challenges;
  std::size_t budget = kMostBytes;
  for (std::string_view line : lines) {
    line = line.substr(0, budget);
    budget -= line.size();
    Reader(line, challenges).run();
  }
  return challenges;
}

std::optional<AuthChoice> choose_challenge(const std::vector<Challenge>& challenges) {
  std::optional<AuthChoice> choice;
  for (const Challenge& challenge : challenges) {
    if (challenge.scheme == "bearer" && is_usable_realm(challenge.param("realm"))) {
      return AuthChoice{AuthChoice::Scheme::bearer, std::string(challenge.param("realm")),
                        std::string(challenge.param("service")), std::string(challenge.param("scope")),
                        std::string(challenge.param("error"))};
    }
    if (challenge.scheme == "basic" || challenge.scheme == "bearer") choice = AuthChoice{};
  }
  return choice;
}

Result<Url> resolve_realm(const Url& base, std::string_view realm) {
  auto url = resolve_url(base, realm);
  if (!url)
    return Error{Errc::upstream_protocol,
                 base.authority() + " names a token server that is no http URL: " + url.error().message,
                 0,
                 0,
                 "realm_invalid",
                 {}};
  if (base.scheme == "https" && url->scheme == "http") {
    if (url->host != base.host)
      return Error{Errc::refused_by_policy,
                   base.authority() + " is asked over https and names a token server without TLS (" +
                       url->authority() + "); credentials are not sent there",
                   0,
                   0,
                   "realm_downgrade",
                   {}};
    url->scheme = "https";
    if (url->port == 80) url->port = base.port;
  }
  return url;
}

std::optional<Url> realm_at_home(const Url& base, std::string_view realm) {
  const auto path = path_of_realm(realm);
  if (path.size() < 2) return std::nullopt;
  auto url = resolve_url(base, path);
  if (!url || !url->same_origin(base)) return std::nullopt;
  return std::move(*url);
}

std::string pull_scope(std::string_view repository) {
  return "repository:" + std::string(repository) + ":pull";
}

std::vector<std::string> scopes_for(std::string_view challenge_scope, std::string_view repository) {
  std::vector<std::string> scopes;
  if (!repository.empty()) scopes.push_back(pull_scope(repository));
  for (std::string_view scope : split(challenge_scope, ' ')) {
    if (scopes.size() >= 16) break;
    if (!scope.empty() && scope.size() <= 512) scopes.emplace_back(scope);
  }
  std::sort(scopes.begin(), scopes.end());
  scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
  return scopes;
}

}  // namespace layerd::registry
