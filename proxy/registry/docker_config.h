// Docker's config.json and what goes by other names but looks like it: kubernetes' dockerconfigjson,
// containers' auth.json, the flat .dockercfg of old (protocol.md §4.1 to §4.4). Parsed, and asked for
// the credentials of one repository. Pure, any thread. Nothing it says holds a secret.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/registry/endpoint.h"
#include "proxy/registry/registry_key.h"
#include "runtime/result.h"

namespace layerd::registry {

inline constexpr std::size_t kMostDockerConfigBytes = 1u << 20;
inline constexpr std::size_t kMostDockerEntries = 2000;

// One entry of `auths`.
struct DockerAuth {
  std::string key;  // as written, printable
  RegistryKey where;
  Credentials credentials;
  std::string flaw;       // why it cannot be used: "it has neither …"; empty: it can
  bool is_empty = false;  // nothing in it: docker leaves that where a helper keeps the secret
};
// One entry of `credHelpers`.
struct DockerHelper {
  std::string key;
  RegistryKey where;
  std::string helper;
};

struct DockerConfig {
  std::string file;
  std::vector<DockerAuth> auths;
  std::vector<DockerHelper> helpers;
  std::string store;                  // `credsStore`: the helper for all others
  std::vector<std::string> problems;  // of single entries, each with its key; the others count
};

// `file` is for messages and for Credentials::source. Errors: config, with file and line.
Result<DockerConfig> parse_docker_config(std::string_view text, std::string_view file);

// A helper's name goes into a program's name: letters, digits and "-._" only.
bool is_helper_name(std::string_view name);
// May `token` stand in a header as it is?
bool is_token_text(std::string_view token);
// Why `credentials` cannot be sent; empty: they can.
std::string flaw_of(const Credentials& credentials);

struct DockerChoice {
  enum class Kind {
    none,         // the file has nothing for this place
    credentials,  // `credentials`
    helper,       // ask `helper` for `server`
  };
  Kind kind = Kind::none;
  Credentials credentials;
  std::string helper, server;
  bool is_named = false;  // helper: the file names this registry, it was not only meant for all
  std::string said;       // for people, what was found: "auths.\"ghcr.io\"", "it has an entry for …"
  // What is behind a `none`: "credentials_unusable" (there is an entry and it is of no use),
  // "credentials_other_host" (only entries for akin hosts), or empty.
  std::string diagnosis;
};

// The entry of credHelpers, else the most particular entry of auths that can be used, else the
// credsStore.
DockerChoice choose(const DockerConfig& config, const RegistryPlace& place);

// What a docker credential helper is asked for.
std::string helper_server(const RegistryPlace& place);

}  // namespace layerd::registry
