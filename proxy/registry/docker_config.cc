#include "proxy/registry/docker_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::registry {
namespace {

constexpr std::size_t kMostProblems = 50;
constexpr std::size_t kMostNearMisses = 5;
constexpr const char* kNothingInIt = "it has neither `auth` nor `username` and `password`, nor a token";

Error broken(std::string_view file, std::string_view why) {
  return {Errc::config, fmt::format("{}: {}", file, why)};
}

// A text below `name`; a value of another kind is a flaw.
std::string text_of(const Json& entry, const char* name, std::string& flaw) {
  const Json* value = json_find(entry, name);
  if (value == nullptr || value->is_null()) return {};
  if (value->is_string()) return value->get<std::string>();
  if (flaw.empty()) flaw = fmt::format("`{}` is no text", name);
  return {};
}

// Editors and `echo` end a secret with a line break that is no part of it.
bool drop_line_end(std::string& secret) {
  const auto before = secret.size();
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  return secret.size() != before;
}

// `auth` counts before user and password, as docker and the kubelet have it.
void unfold_auth(const std::string& auth, Credentials& credentials, std::string& flaw) {
  auto decoded = decode_base64(auth);
  if (!decoded) {
    flaw = "`auth` is not base64";
    return;
  }
  const auto colon = decoded->find(':');
  if (colon == std::string::npos) {
    flaw = "`auth` is not base64 of user:password, it holds no colon";
    return;
  }
  credentials.username = decoded->substr(0, colon);
  credentials.password = decoded->substr(colon + 1);
  while (credentials.password.ends_with('\0')) credentials.password.pop_back();
}

DockerAuth read_auth(const std::string& key, RegistryKey where, const Json& json, std::string_view file,
                     std::vector<std::string>& problems) {
  DockerAuth entry{printable(key, 120), std::move(where), {}, {}, false};
  if (!json.is_object()) {
    entry.flaw = "it is no object";
    return entry;
  }
  auto& credentials = entry.credentials;
  const auto auth = text_of(json, "auth", entry.flaw);
  credentials.username = text_of(json, "username", entry.flaw);
  credentials.password = text_of(json, "password", entry.flaw);
  credentials.identity_token = text_of(json, "identitytoken", entry.flaw);
  credentials.registry_token = text_of(json, "registrytoken", entry.flaw);
  entry.is_empty = entry.flaw.empty() && auth.empty() && credentials.empty();
  if (!trim_all(auth).empty()) {
    const auto written = std::make_pair(credentials.username, credentials.password);
    unfold_auth(auth, credentials, entry.flaw);
    if (!written.first.empty() && written != std::make_pair(credentials.username, credentials.password))
      problems.push_back(
          fmt::format("auths.\"{}\": `auth` and `username`, `password` differ; `auth` counts", entry.key));
  }
  bool has_line_end = false;
  for (std::string* secret :
       {&credentials.password, &credentials.identity_token, &credentials.registry_token})
    has_line_end = drop_line_end(*secret) || has_line_end;
  if (has_line_end)
    problems.push_back(
        fmt::format("auths.\"{}\": the secret ended with a line break, which is left out; docker and the "
                    "kubelet would send it",
                    entry.key));
  if (entry.flaw.empty()) entry.flaw = entry.is_empty ? kNothingInIt : flaw_of(credentials);
  credentials.source = fmt::format("{}, auths.\"{}\"", file, entry.key);
  return entry;
}

void read_auths(const Json& json, DockerConfig& config) {
  for (const auto& [key, value] : json.items()) {
    auto where = parse_registry_key(key);
    if (!where) {
      config.problems.push_back(
          fmt::format("auths.{}: this names no registry; host[:port], host/path or https://host was expected",
                      shown_url(key)));
      continue;
    }
    config.auths.push_back(read_auth(key, std::move(*where), value, config.file, config.problems));
  }
}

void read_helpers(const Json& json, DockerConfig& config) {
  for (const auto& [key, value] : json.items()) {
    auto where = parse_registry_key(key);
    const auto shown = printable(key, 120);
    if (!where)
      config.problems.push_back(fmt::format("credHelpers.{}: this names no registry", shown_url(key)));
    else if (!value.is_string() || !is_helper_name(value.get<std::string>()))
      config.problems.push_back(fmt::format("credHelpers.\"{}\": the name of a helper was expected", shown));
    else
      config.helpers.push_back({shown, std::move(*where), value.get<std::string>()});
  }
}

// An empty entry is how docker marks what its store keeps; without a store it is a mistake.
void report_flaws(DockerConfig& config) {
  for (const auto& entry : config.auths) {
    const bool is_kept_elsewhere =
        entry.is_empty && (!config.store.empty() ||
                           std::any_of(config.helpers.begin(), config.helpers.end(), [&](const auto& helper) {
                             return helper.where.host == entry.where.host;
                           }));
    if (!entry.flaw.empty() && !is_kept_elsewhere)
      config.problems.push_back(fmt::format("auths.\"{}\" is not used: {}", entry.key, entry.flaw));
  }
  if (config.problems.size() > kMostProblems) {
    const auto more = config.problems.size() - kMostProblems;
    config.problems.resize(kMostProblems);
    config.problems.push_back(fmt::format("and {} more", more));
  }
}

bool looks_like_auth(const Json& value) {
  for (const char* name : {"auth", "username", "password", "identitytoken", "registrytoken", "email"})
    if (json_find(value, name) != nullptr) return true;
  return false;
}

// The .dockercfg of old: the entries stand at the top.
Json flat_auths(const Json& root) {
  Json auths = Json::object();
  for (const auto& [key, value] : root.items())
    if (looks_like_auth(value)) auths[key] = value;
  return auths;
}

// `kubectl get secret -o json` instead of what it wraps.
Result<DockerConfig> parse_secret(const Json& secret, std::string_view file) {
  const Json* data = json_find(secret, "data");
  for (const char* name : {".dockerconfigjson", ".dockercfg"}) {
    const Json* wrapped = data != nullptr ? json_find(*data, name) : nullptr;
    if (wrapped == nullptr || !wrapped->is_string()) continue;
    auto text = decode_base64(wrapped->get<std::string>());
    if (!text) return broken(file, fmt::format("data.\"{}\" is not base64", name));
    if (text->find("\"kind\"") != std::string::npos && text->find("\"Secret\"") != std::string::npos)
      return broken(file, fmt::format("data.\"{}\" holds a Secret once more", name));
    return parse_docker_config(*text, file);
  }
  return broken(file, "this Secret has neither data.\".dockerconfigjson\" nor data.\".dockercfg\"");
}

// The entries that are nearly right, and why they are not.
void explain_none(const DockerConfig& config, const RegistryPlace& place, DockerChoice& choice) {
  std::string near;
  std::size_t count = 0;
  for (const auto& entry : config.auths) {
    const bool is_near = is_near_miss(entry.where, place);
    if (is_near && ++count <= kMostNearMisses) near += (near.empty() ? "" : ", ") + entry.key;
  }
  const auto wanted = place.authority() + "/" + place.path;
  if (count > 0) {
    choice.diagnosis = "credentials_other_host";
    choice.said = fmt::format("{} has an entry for {}{}, but not for {}", config.file, near,
                              count > kMostNearMisses ? " and others" : "", wanted);
  } else {
    choice.said = fmt::format("{} has {} entries and none for {}", config.file, config.auths.size(), wanted);
  }
}

DockerChoice ask_helper(const DockerConfig& config, const RegistryPlace& place, const std::string& helper,
                        const std::string& key, bool is_named) {
  DockerChoice choice;
  choice.kind = DockerChoice::Kind::helper;
  choice.helper = helper;
  choice.server = helper_server(place);
  choice.is_named = is_named;
  choice.said = fmt::format("{}, {}", config.file, key);
  return choice;
}

}  // namespace

bool is_helper_name(std::string_view name) {
  return !name.empty() && name.size() <= 100 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

bool is_token_text(std::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string flaw_of(const Credentials& credentials) {
  if (!is_token_text(credentials.registry_token))
    return "its registry token holds a space or a byte that no token has";
  if (!credentials.registry_token.empty() || !credentials.identity_token.empty()) return {};
  if (credentials.username.empty() && credentials.password.empty()) return kNothingInIt;
  if (credentials.username.empty()) return "it has a password and no user name";
  if (credentials.password.empty()) return "it has a user name and no password";
  if (credentials.username.find(':') != std::string::npos)
    return "its user name holds a colon, which cannot be sent";
  return {};
}

Result<DockerConfig> parse_docker_config(std::string_view text, std::string_view file) {
  if (trim_all(text).empty()) return broken(file, "it is empty, a docker config.json was expected");
  auto root = parse_json(text, {kMostDockerConfigBytes, 16});
  if (!root) return broken(file, root.error().message);
  if (!root->is_object()) return broken(file, "an object with `auths` was expected at line 1");
  if (json_string(*root, "kind") == "Secret") return parse_secret(*root, file);

  DockerConfig config;
  config.file = std::string(file);
  const Json *auths = json_find(*root, "auths"), *helpers = json_find(*root, "credHelpers");
  const bool is_flat = auths == nullptr && helpers == nullptr && json_find(*root, "credsStore") == nullptr;
  for (const auto& [name, part] : {std::make_pair("auths", auths), std::make_pair("credHelpers", helpers)}) {
    if (part == nullptr || part->is_null()) continue;
    if (!part->is_object()) return broken(file, fmt::format("`{}` is no object", name));
    if (part->size() > kMostDockerEntries)
      return broken(file, fmt::format("`{}` has more than {} entries", name, kMostDockerEntries));
  }
  const Json flat = is_flat ? flat_auths(*root) : Json();
  if (is_flat && flat.empty() && !root->empty())
    config.problems.push_back("it has no `auths`, `credHelpers` or `credsStore`");
  if (is_flat && flat.size() <= kMostDockerEntries) read_auths(flat, config);
  if (auths != nullptr && auths->is_object()) read_auths(*auths, config);
  if (helpers != nullptr && helpers->is_object()) read_helpers(*helpers, config);
  config.store = json_string(*root, "credsStore");
  if (!config.store.empty() && !is_helper_name(config.store)) {
    config.store.clear();
    config.problems.push_back("credsStore: the name of a helper was expected");
  }
  report_flaws(config);
  return config;
}

DockerChoice choose(const DockerConfig& config, const RegistryPlace& place) {
  const DockerHelper* helper = nullptr;
  for (const auto& entry : config.helpers)
    if (fit(entry.where, place) == KeyFit::fits &&
        (helper == nullptr || is_more_particular(entry.where, helper->where)))
      helper = &entry;
  if (helper != nullptr)
    return ask_helper(config, place, helper->helper, fmt::format("credHelpers.\"{}\"", helper->key), true);

  const DockerAuth *best = nullptr, *useless = nullptr;
  for (const auto& entry : config.auths) {
    if (fit(entry.where, place) != KeyFit::fits) continue;
    auto& chosen = entry.flaw.empty() ? best : useless;
    // Of two spellings of one place the shorter: the bare host before its URL.
    const bool is_better =
        chosen == nullptr || is_more_particular(entry.where, chosen->where) ||
        (!is_more_particular(chosen->where, entry.where) && entry.key.size() < chosen->key.size());
    if (is_better) chosen = &entry;
  }
  DockerChoice choice;
  if (best != nullptr) {
    choice.kind = DockerChoice::Kind::credentials;
    choice.credentials = best->credentials;
    choice.said = best->credentials.source;
    return choice;
  }
  if (!config.store.empty() && (useless == nullptr || useless->is_empty))
    return ask_helper(config, place, config.store, "credsStore", useless != nullptr);
  if (useless != nullptr) {
    choice.diagnosis = "credentials_unusable";
    choice.said =
        fmt::format("{}, auths.\"{}\" cannot be used: {}", config.file, useless->key, useless->flaw);
    return choice;
  }
  explain_none(config, place, choice);
  return choice;
}

std::string helper_server(const RegistryPlace& place) {
  return place.host == kDockerHub ? "https://index.docker.io/v1/" : place.authority();
}

}  // namespace layerd::registry
