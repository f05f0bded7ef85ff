#include "daemon/config_proxy.h"

#include <cstdlib>

#include "daemon/config.h"
#include "proxy/registry/text.h"

namespace layerd::daemon {
namespace {

// The upper-case name counts first, as for Go.
struct Variable {
  std::string name;
  std::string value;  // empty: neither is set
};
Variable variable(const char* (*environment)(const char* name), const char* upper) {
  const std::string lower = registry::lower_case(upper);
  for (const std::string& name : {std::string(upper), lower}) {
    if (const char* value = environment(name.c_str()); value && *value) return {name, value};
  }
  return {};
}

void warn(std::vector<Problem>& warnings, const Variable& variable, const std::string& why) {
  warnings.push_back({"", 0, 0, fmt::format("{} of the environment is not used: {}", variable.name, why)});
}

}  // namespace

const char* process_environment(const char* name) { return std::getenv(name); }

void read_proxy(const YamlNode& node, std::string_view key, std::optional<net::Proxy>& out, bool& is_set,
                ConfigReader& reader) {
  const auto text = reader.text(node, key);
  if (!text) return;
  is_set = true;
  out.reset();
  if (text->empty()) return;
  auto proxy = net::parse_proxy(*text);
  if (!proxy) return reader.error(node, fmt::format("{}: {}", key, proxy.error().message));
  out = std::move(*proxy);
}

void read_no_proxy(const YamlNode& node, std::string_view key, ProxySettings& out, ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  out.sets_no_proxy = true;
  for (const auto& [text, at] : *list) {
    // One text may hold what NO_PROXY does.
    for (const auto entry : registry::split(text, ',')) {
      if (registry::trim(entry).empty()) continue;
      if (auto added = out.exceptions.add(entry); !added)
        reader.error(*at, fmt::format("{}: {}", key, added.error().message));
      else
        out.no_proxy.emplace_back(registry::trim(entry));
    }
  }
}

void read_proxy_password(const YamlNode& node, std::string_view key, ProxySettings& out,
                         ConfigReader& reader) {
  out.password_stamp = net::FileStamp::of(node.scalar);
  auto secret = reader.secret_of(node, key);
  out.password_file = node.scalar;
  out.password = secret.value_or("");
}

void warn_of_proxy(const YamlNode& root, const ProxySettings& proxy, ConfigReader& reader) {
  const YamlNode* section = root.find("proxy");
  const YamlNode* file = section && section->is_map() ? section->find("password_file") : nullptr;
  if (!file || proxy.password_file.empty()) return;
  const auto needs = [](const std::optional<net::Proxy>& one) {
    return one && !one->username.empty() && one->password.empty();
  };
  if (needs(proxy.http) || needs(proxy.https)) return;
  const auto has_password = [](const std::optional<net::Proxy>& one) {
    return one && !one->password.empty();
  };
  reader.warn(*file,
              has_password(proxy.http) || has_password(proxy.https)
                  ? "proxy.password_file is not used: the URL holds a password, which wins; take it out there"
                  : "proxy.password_file is not used: no URL names a user; write http://USER@host:port");
}

void add_environment(const char* (*environment)(const char* name), ProxySettings& out,
                     std::vector<Problem>& warnings) {
  const auto take = [&](const char* name, bool is_set, std::optional<net::Proxy>& proxy) {
    const Variable found = is_set ? Variable{} : variable(environment, name);
    if (found.value.empty()) return;
    auto parsed = net::parse_proxy(found.value);
    if (!parsed) return warn(warnings, found, parsed.error().message);
    proxy = std::move(*parsed);
  };
  take("HTTPS_PROXY", out.sets_https, out.https);
  take("HTTP_PROXY", out.sets_http, out.http);
  const Variable exceptions = out.sets_no_proxy ? Variable{} : variable(environment, "NO_PROXY");
  for (const auto entry : registry::split(exceptions.value, ',')) {
    if (registry::trim(entry).empty()) continue;
    if (auto added = out.exceptions.add(entry); !added)
      warn(warnings, {exceptions.name + " entry", ""}, added.error().message);
    else
      out.no_proxy.emplace_back(registry::trim(entry));
  }
}

std::string show_proxy(const std::optional<net::Proxy>& proxy) {
  if (!proxy) return "\"\"";
  std::string text = proxy->str();
  if (!net::proxy_authorization(*proxy).empty()) text.insert(text.find("://") + 3, "****@");
  return yaml_quoted(text);
}

}  // namespace layerd::daemon
