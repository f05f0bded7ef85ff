#include "daemon/setup/copied.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/config_values.h"
#include "daemon/setup/plan.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/rewrite.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

std::string encode_base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j <= bytes.size() ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

std::string at(const std::string& file, const YamlNode& node) {
  return fmt::format("{}:{}:{}", file, node.line, node.column);
}

std::string text_of(const YamlNode& map, const char* key) {
  const YamlNode* found = map.find(key);
  return found && found->kind == YamlNode::Kind::scalar ? found->scalar : std::string();
}

// The name as layerd's configuration has it; empty if it takes none such.
std::string good_key(const std::string& key) {
  if (key == "*") return key;
  const auto name = registry::parse_registry_name(key);
  return name ? registry::lower_case(key) : std::string();
}

CopiedMirror read_mirror(const std::string& file, const YamlNode& node, std::vector<std::string>& notes) {
  CopiedMirror mirror;
  if (const YamlNode* list = node.find("endpoint"); list && list->kind == YamlNode::Kind::list)
    for (const auto& item : list->items) {
      if (registry::parse_endpoint(item.scalar))
        mirror.endpoints.push_back(item.scalar);
      else
        notes.push_back(fmt::format("{}: \"{}\" is no endpoint that layerd can ask; it is not copied",
                                    at(file, item), printable(item.scalar, 80)));
    }
  if (const YamlNode* rules = node.find("rewrite"); rules && rules->is_map())
    for (const auto& [expression, replacement] : rules->entries) {
      if (auto good = registry::Rewrites::compile({{expression.scalar, replacement.scalar}}); good)
        mirror.rewrite.emplace_back(expression.scalar, replacement.scalar);
      else
        notes.push_back(
            fmt::format("{}: the rewrite is not copied: {}", at(file, expression), good.error().message));
    }
  return mirror;
}

void read_auth(const std::string& file, const YamlNode& auth, CopiedHost& host,
               std::vector<std::string>& notes) {
  host.username = text_of(auth, "username");
  host.password = text_of(auth, "password");
  host.identity_token = text_of(auth, "identity_token");
  host.token = text_of(auth, "token");
  const std::string both = text_of(auth, "auth");
  if (both.empty() || !host.username.empty()) return;
  auto pair = split_auth(both);
  if (!pair) {
    notes.push_back(at(file, auth) + ": auth.auth is not copied: " + pair.error().message);
    return;
  }
  std::tie(host.username, host.password) = *pair;
}

CopiedHost read_host(const std::string& file, const YamlNode& node, std::vector<std::string>& notes) {
  CopiedHost host;
  if (const YamlNode* auth = node.find("auth"); auth && auth->is_map()) read_auth(file, *auth, host, notes);
  if (const YamlNode* tls = node.find("tls"); tls && tls->is_map()) {
    host.ca_file = text_of(*tls, "ca_file");
    host.cert_file = text_of(*tls, "cert_file");
    host.key_file = text_of(*tls, "key_file");
    host.skip_verify = parse_bool(text_of(*tls, "insecure_skip_verify")).ok() &&
                       *parse_bool(text_of(*tls, "insecure_skip_verify"));
  }
  return host;
}

void put(std::string& out, const char* indent, const char* key, const std::string& value) {
  if (!value.empty()) out += fmt::format("{}{}: {}\n", indent, key, yaml_quoted(value));
}

std::string mirror_text(const CopiedMirror& mirror) {
  std::string out;
  if (!mirror.endpoints.empty()) {
    out += "    endpoint:\n";
    for (const auto& url : mirror.endpoints) out += fmt::format("      - {}\n", yaml_quoted(url));
  }
  if (!mirror.rewrite.empty()) {
    out += "    rewrite:\n";
    for (const auto& [expression, replacement] : mirror.rewrite)
      out += fmt::format("      {}: {}\n", yaml_quoted(expression), yaml_quoted(replacement));
  }
  if (!mirror.default_endpoint) out += "    default_endpoint: false\n";
  return out;
}

std::string host_text(const CopiedHost& host) {
  std::string auth, tls;
  put(auth, "      ", "username", host.username);
  put(auth, "      ", "password", host.password);
  put(auth, "      ", "identity_token", host.identity_token);
  put(auth, "      ", "token", host.token);
  put(tls, "      ", "ca_file", host.ca_file);
  put(tls, "      ", "cert_file", host.cert_file);
  put(tls, "      ", "key_file", host.key_file);
  if (host.skip_verify) tls += "      insecure_skip_verify: true\n";
  return (auth.empty() ? "" : "    auth:\n" + auth) + (tls.empty() ? "" : "    tls:\n" + tls);
}

template <class Map>
void merge_map(Map& all, const Map& more, const char* section, const std::string& of,
               std::vector<std::string>& notes) {
  for (const auto& [key, value] : more) {
    const auto [found, is_new] = all.emplace(key, value);
    if (!is_new && !(found->second == value) && !(value == typename Map::mapped_type{}))
      notes.push_back(
          fmt::format("{}.\"{}\" differs from what {} has and is kept as it is here; layerd asks "
                      "by the one that is kept",
                      section, key, of));
  }
}

}  // namespace

Result<std::pair<std::string, std::string>> split_auth(std::string_view base64) {
  auto both = registry::decode_base64(base64);
  const auto colon = both ? both->find(':') : std::string::npos;
  if (!both || colon == std::string::npos || colon == 0)
    return {Errc::config, "base64 of user:password was expected"};
  std::string password = both->substr(colon + 1);
  while (password.ends_with('\0')) password.pop_back();
  return std::pair{both->substr(0, colon), std::move(password)};
}

Copied read_copied(const std::string& file, const YamlNode& root, std::vector<std::string>& notes) {
  Copied copied;
  for (const char* section : {"mirrors", "configs", "auths"}) {
    const YamlNode* map = root.find(section);
    if (!map || !map->is_map()) continue;
    for (const auto& [key, value] : map->entries) {
      std::string name = good_key(key.scalar);
      if (section[0] == 'a') name = authority_of(key.scalar);
      if (name.empty()) {
        notes.push_back(fmt::format("{}: \"{}\" is no host[:port]; it is not copied", at(file, key),
                                    printable(key.scalar, 80)));
      } else if (section[0] == 'm') {
        copied.mirrors.emplace(name, read_mirror(file, value, notes));
      } else if (section[0] == 'c') {
        copied.configs.emplace(name, read_host(file, value, notes));
      } else if (value.is_map()) {
        CopiedHost host;
        read_auth(file, value, host, notes);
        if (!host.empty()) copied.configs.emplace(name, std::move(host));
      }
    }
  }
  return copied;
}

std::string copied_text(const Copied& copied, const std::string& head) {
  std::string out;
  for (auto line : registry::split(head, '\n'))
    if (!line.empty()) out += fmt::format("# {}\n", line);
  if (!copied.mirrors.empty()) out += "mirrors:\n";
  for (const auto& [key, mirror] : copied.mirrors) {
    const std::string body = mirror_text(mirror);
    out += fmt::format("  {}:{}\n{}", yaml_quoted(key), body.empty() ? " {}" : "", body);
  }
  if (!copied.configs.empty()) out += "configs:\n";
  for (const auto& [key, host] : copied.configs) {
    const std::string body = host_text(host);
    out += fmt::format("  {}:{}\n{}", yaml_quoted(key), body.empty() ? " {}" : "", body);
  }
  return out;
}

void merge_copied(Copied& all, const Copied& more, const std::string& of, std::vector<std::string>& notes) {
  for (const auto& [key, host] : more.configs)
    if (const auto found = all.configs.find(key); found != all.configs.end() && found->second.empty())
      found->second = host;  // only named so far
  merge_map(all.mirrors, more.mirrors, "mirrors", of, notes);
  merge_map(all.configs, more.configs, "configs", of, notes);
}

void drop_endpoint(Copied& copied, std::string_view url) {
  for (auto entry = copied.mirrors.begin(); entry != copied.mirrors.end();) {
    auto& mirror = entry->second;
    std::erase_if(mirror.endpoints, [&](const std::string& each) { return same_endpoint(each, url); });
    const bool says_nothing = mirror.endpoints.empty() && mirror.default_endpoint;
    entry = says_nothing ? copied.mirrors.erase(entry) : std::next(entry);
  }
  copied.configs.erase(authority_of(url));
}

std::vector<std::string> secrets_of(const Copied& copied) {
  std::vector<std::string> secrets;
  for (const auto& [key, host] : copied.configs) {
    for (const auto* secret : {&host.password, &host.identity_token, &host.token})
      if (!secret->empty()) secrets.push_back(*secret);
    if (!host.password.empty()) secrets.push_back(encode_base64(host.username + ":" + host.password));
  }
  return secrets;
}

}  // namespace layerd::daemon::setup
