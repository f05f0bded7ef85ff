// WWW-Authenticate lines (one per line of the input) and token answers.
#include <cstdint>
#include <vector>

#include "proxy/registry/challenge.h"
#include "proxy/registry/text.h"
#include "proxy/registry/token.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto challenges = parse_challenges(split(text, '\n'));
  LAYERD_CHECK(challenges.size() <= 16);
  const Url base{"https", "registry.example", 443, "/v2", {}};
  if (const auto choice = choose_challenge(challenges)) {
    for (const auto& scope : scopes_for(choice->scope, "library/nginx")) LAYERD_CHECK(!scope.empty());
    if (const auto realm = resolve_realm(base, choice->realm)) LAYERD_CHECK(realm->scheme == "https");
  }
  if (const auto token = parse_token_response(text)) {
    LAYERD_CHECK(!token->token.empty());
    LAYERD_CHECK(token->lifetime >= std::chrono::seconds(60));
  }
  static_cast<void>(parse_rfc3339(text));
  return 0;
}
