#include "daemon/config_credentials.h"

#include <unistd.h>

#include <array>
#include <set>

#include "proxy/registry/docker_config.h"
#include "proxy/registry/pattern.h"
#include "runtime/guarded_file.h"

namespace layerd::daemon {
namespace {

constexpr std::size_t kMostSources = 64;

std::string shown_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const auto& text : texts) list += (list.empty() ? "" : ", ") + yaml_quoted(text);
  return "[" + list + "]";
}

// What is wrong inside a docker config is known before the first pull needs it.
void check_docker_config(const YamlNode& at, std::string_view key, const std::string& path,
                         ConfigReader& reader) {
  auto text = read_guarded(path, registry::kMostDockerConfigBytes);
  // That it cannot be opened was told already.
  if (!text && text.error().code != Errc::invalid_request) return;
  if (!text) return reader.file_problem(at, fmt::format("{}: {}", key, text.error().message));
  auto parsed = registry::parse_docker_config(*text, path);
  if (!parsed) return reader.file_problem(at, fmt::format("{}: {}", key, parsed.error().message));
  for (const auto& problem : parsed->problems) reader.warn(at, fmt::format("{}: {}: {}", key, path, problem));
}

bool is_runnable_name(const std::string& program) {
  for (const char* folder :
       {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"})
    if (::access((folder + program).c_str(), X_OK) == 0) return true;
  return false;
}

void check_program(const YamlNode& at, const std::string& where, const HelperDraft& draft,
                   ConfigReader& reader) {
  if (draft.helper.starts_with('/')) {
    if (::access(draft.helper.c_str(), X_OK) != 0)
      reader.file_problem(at, fmt::format("{}helper: {} cannot be run: {}", where, draft.helper,
                                          errno_error("no program", errno).message));
    return;
  }
  const auto program =
      draft.kind == registry::HelperKind::docker ? "docker-credential-" + draft.helper : draft.helper;
  if (!is_runnable_name(program))
    reader.warn(at, fmt::format("{}helper: {} is not installed in /usr/local/bin, /usr/bin or beside them",
                                where, program));
}

void apply_kind(const YamlNode& node, std::string_view key, HelperDraft& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  if (*word != "docker" && *word != "kubelet")
    return reader.error(node, fmt::format("{}: \"{}\" is no kind of helper; {}", key, printable(*word, 40),
                                          suggestion(*word, {"docker", "kubelet"})));
  out.kind = *word == "kubelet" ? registry::HelperKind::kubelet : registry::HelperKind::docker;
}

void apply_helper(const YamlNode& node, std::string_view key, HelperDraft& out, ConfigReader& reader) {
  auto name = reader.text(node, key);
  if (!name) return;
  if (!name->starts_with('/') && !registry::is_helper_name(*name))
    return reader.error(node,
                        fmt::format("{}: \"{}\" is neither the name of a helper (ecr-login) nor an absolute "
                                    "path",
                                    key, printable(*name, 80)));
  out.helper = std::move(*name);
}

void apply_environment(const YamlNode& node, std::string_view key, HelperDraft& out, ConfigReader& reader) {
  if (!node.is_map()) return reader.error(node, fmt::format("{}: NAME: value was expected", key));
  for (const auto& [name, value] : node.entries) {
    const bool is_good =
        !name.scalar.empty() && name.scalar.find_first_of(std::string("=\0", 2)) == std::string::npos;
    if (!is_good)
      reader.error(name, fmt::format("{}: \"{}\" is no name of a variable", key, printable(name.scalar, 40)));
    else if (auto text = reader.text(value, key); text && text->find('\0') == std::string::npos)
      out.environment.emplace_back(name.scalar, std::move(*text));
  }
}

std::string show_environment(const HelperDraft& draft) {
  std::string list;
  for (const auto& [name, value] : draft.environment)
    list += fmt::format("{}{}: \"****\"", list.empty() ? "" : ", ", yaml_quoted(name));
  return list.empty() ? "" : "{" + list + "}";
}

void add_helper(const YamlNode& node, const std::string& where, registry::CredentialRules& out,
                ConfigReader& reader) {
  HelperDraft draft;
  read_map(node, helper_keys(), draft, reader, UnknownKey::is_error, where);
  const auto is_missing = [&node](std::string_view key) {
    const auto* value = node.find(key);
    return value == nullptr || value->kind == YamlNode::Kind::null;
  };
  if (!node.is_map() || is_missing("match") || is_missing("helper"))
    return reader.error(
        node, fmt::format("{}: match and helper are both needed", where.substr(0, where.size() - 1)));
  if (draft.helper.empty()) return;  // told already
  auto pattern = registry::Pattern::compile(draft.match);
  if (!pattern)
    return reader.error(*node.find("match"), fmt::format("{}match: {}", where, pattern.error().message));
  check_program(*node.find("helper"), where, draft, reader);
  out.helpers.push_back({std::move(*pattern), std::move(draft.helper), draft.kind, std::move(draft.arguments),
                         std::move(draft.environment)});
}

}  // namespace

const std::vector<Key<HelperDraft>>& helper_keys() {
  static const std::vector<Key<HelperDraft>> kKeys{
      {"match", "pattern", "of host[:port], or of host[:port]/repository", true,
       "Which registries the helper is asked about; the first entry that matches and gives something counts.",
       [](const YamlNode& node, std::string_view key, HelperDraft& out, ConfigReader& reader) {
         if (auto text = reader.text(node, key)) out.match = std::move(*text);
       },
       [](const HelperDraft& draft) { return yaml_quoted(draft.match); }},
      {"helper", "name or path", "ecr-login stands for docker-credential-ecr-login", true,
       "The program that is run.", apply_helper,
       [](const HelperDraft& draft) { return yaml_quoted(draft.helper); }},
      {"kind", "word", "docker, kubelet", true,
       "What it speaks: docker's helper protocol, or that of the kubelet's credential provider plugins.",
       apply_kind,
       [](const HelperDraft& draft) {
         return std::string(draft.kind == registry::HelperKind::kubelet ? "kubelet" : "docker");
       }},
      {"args", "list of texts", "", true, "Arguments, before docker's own `get`.",
       [](const YamlNode& node, std::string_view key, HelperDraft& out, ConfigReader& reader) {
         if (const auto list = reader.texts(node, key, false))
           for (const auto& [text, at] : *list) out.arguments.push_back(text);
       },
       [](const HelperDraft& draft) { return shown_list(draft.arguments); }},
      {"env", "map of texts, secret", "", true,
       "Its environment, besides PATH, HOME and the proxy's and CA's variables.", apply_environment,
       show_environment},
  };
  return kKeys;
}

void read_docker_configs(const YamlNode& node, std::string_view key, registry::CredentialRules& out,
                         ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  if (list->size() > kMostSources)
    return reader.error(node, fmt::format("{}: at most {} files are possible", key, kMostSources));
  for (const auto& [text, at] : *list) {
    const auto path = reader.readable_file(*at, key, true);
    if (!path) continue;
    if (path->empty()) {
      reader.error(*at, fmt::format("{}: the path of a file was expected", key));
    } else if (std::find(out.docker_configs.begin(), out.docker_configs.end(), *path) !=
               out.docker_configs.end()) {
      reader.warn(*at, fmt::format("{}: {} is there twice, the second one is dropped", key, *path));
    } else {
      check_docker_config(*at, key, *path, reader);
      out.docker_configs.push_back(*path);
    }
  }
}

void read_helpers(const YamlNode& node, std::string_view key, registry::CredentialRules& out,
                  ConfigReader& reader) {
  if (node.kind != YamlNode::Kind::list)
    return reader.error(node,
                        fmt::format("{}: a list of {{match: pattern, helper: name}} was expected", key));
  if (node.items.size() > kMostSources)
    return reader.error(node, fmt::format("{}: at most {} helpers are possible", key, kMostSources));
  for (std::size_t i = 0; i < node.items.size(); ++i)
    add_helper(node.items[i], fmt::format("{}[{}].", key, i), out, reader);
}

std::string show_docker_configs(const registry::CredentialRules& rules) {
  return shown_list(rules.docker_configs);
}

std::string show_helpers(const registry::CredentialRules& rules) {
  std::string out;
  for (const auto& rule : rules.helpers) {
    const HelperDraft draft{rule.match.text(), rule.kind, rule.helper, rule.arguments, rule.environment};
    std::string item;
    for (const auto& key : helper_keys())
      if (const auto text = key.show(draft); !text.empty())
        item += fmt::format("{}{}: {}", item.empty() ? "" : ", ", key.path, text);
    out += fmt::format("{}{{{}}}", out.empty() ? "" : ", ", item);
  }
  return "[" + out + "]";
}

}  // namespace layerd::daemon
