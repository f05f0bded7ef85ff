// What a registry asks for with a 401: the challenges of WWW-Authenticate (RFC 9110 §11.6.1) with
// the deviations seen in the wild (protocol.md §3.1), and which of them to answer. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/registry/endpoint.h"
#include "runtime/result.h"

namespace layerd::registry {

struct Challenge {
  std::string scheme;                                       // lower case
  std::string token68;                                      // "Negotiate YII…="; usually empty
  std::vector<std::pair<std::string, std::string>> params;  // names in lower case, values unquoted
  // The first value of that name, empty if absent.
  std::string_view param(std::string_view name) const;
};

// All challenges of all WWW-Authenticate lines, in order. Never fails: what makes no sense is
// skipped. Reads at most 16 KiB and answers at most 16 challenges of 32 parameters each.
std::vector<Challenge> parse_challenges(const std::vector<std::string_view>& lines);

struct AuthChoice {
  enum class Scheme : std::uint8_t { basic, bearer };
  Scheme scheme = Scheme::basic;
  std::string realm, service, scope;  // of Bearer; service and scope may be empty
  std::string error;                  // "invalid_token", "insufficient_scope", ...
};
// Bearer before Basic. A Bearer realm that cannot be asked at all (none, a mail address) counts as Basic.
// Nothing: no challenge we know.
std::optional<AuthChoice> choose_challenge(const std::vector<Challenge>& challenges);

// The token server a realm names, seen from the registry at `base`. Relative realms are resolved;
// http on the registry's own host becomes https when the registry speaks https (TLS-terminating
// proxies); http anywhere else is refused then. Errors: upstream_protocol, refused_by_policy.
Result<Url> resolve_realm(const Url& base, std::string_view realm);

// The same path at the registry itself, for realms that cannot be right: "null://host:5005/v2/token"
// (Nexus), "http://core.default.svc/service/token" of a registry with TLS (Harbor; protocol.md §3.1).
// Always of base's own origin.
std::optional<Url> realm_at_home(const Url& base, std::string_view realm);

// "repository:library/nginx:pull"
std::string pull_scope(std::string_view repository);
// The scopes to ask for: those of the challenge (space separated) and the pull scope of the
// repository; sorted, each once; at most 16. Never holds an empty one.
std::vector<std::string> scopes_for(std::string_view challenge_scope, std::string_view repository);

}  // namespace layerd::registry
