// What is said to credential helpers and what they answer: docker's (docker-credential-NAME get) and
// the kubelet's credential provider plugins (protocol.md §4.1, §4.5). Pure. What a helper prints may
// hold a secret, so no message quotes it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "proxy/registry/credential_rules.h"
#include "proxy/registry/registry_key.h"
#include "runtime/children.h"

namespace layerd::upstream {

struct HelperRequest {
  registry::HelperKind kind = registry::HelperKind::docker;
  std::string helper;  // a name, or an absolute path
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  registry::RegistryPlace place;
  std::string source;  // where it was configured, for people
};

// How long a docker helper's answer counts; it says nothing of it itself.
inline constexpr std::chrono::minutes kDockerHelperLifetime{5};
// How long "no credentials here" counts.
inline constexpr std::chrono::minutes kNothingThereLifetime{1};
inline constexpr std::chrono::seconds kHelperLimit{8};

struct HelperReply {
  enum class Scope {
    image,     // it counts for this repository
    registry,  // for this host
    global,    // for every place this helper is asked for
  };
  Scope scope = Scope::registry;
  Duration lifetime{};                                                         // zero: not to be kept
  std::vector<std::pair<registry::RegistryKey, registry::Credentials>> auths;  // none: it has nothing
};

// "docker-credential-ecr-login", "/opt/bin/x": what is run, for people too.
std::string program_of(const HelperRequest& request);
// `own`: our own environment, of which a few variables are passed on.
ChildCommand command_for(const HelperRequest& request, const char* const* own);
// Errors: config, naming the helper and saying how to try it by hand.
Result<HelperReply> read_reply(const HelperRequest& request, const Result<ChildEnd>& end);
// The most particular entry that fits; empty if none does.
registry::Credentials pick(const HelperReply& reply, const registry::RegistryPlace& place);

// Go's: "12h", "1h30m0s", "300ms", "0s"; nothing for other text. At most a year.
std::optional<Duration> parse_go_duration(std::string_view text);

}  // namespace layerd::upstream
