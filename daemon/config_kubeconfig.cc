#include "daemon/config_kubeconfig.h"

#include <fmt/core.h>

#include "daemon/config_reader.h"
#include "proxy/registry/endpoint.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon {
namespace {

class Kubeconfig {
 public:
  Kubeconfig(const std::string& path, const YamlNode& root) : path_(path), root_(root) {}

  Result<peers::KubernetesMembers> read(const std::string& wanted) {
    std::string name = wanted.empty() ? text_in(&root_, "current-context") : wanted;
    if (name.empty()) return wrong(root_, "it has no current-context; name one by peers.kubernetes.context");
    const YamlNode* context = entry_of("contexts", "context", name);
    if (!context) return missing("context", "contexts", name);
    const std::string cluster_name = text_in(context, "cluster"), user_name = text_in(context, "user");
    const YamlNode* cluster = entry_of("clusters", "cluster", cluster_name);
    if (!cluster) return missing("cluster", "clusters", cluster_name);
    if (auto done = take_cluster(*cluster); !done) return std::move(done).error();
    if (user_name.empty()) return std::move(out_);
    const YamlNode* user = entry_of("users", "user", user_name);
    if (!user) return missing("user", "users", user_name);
    if (auto done = take_user(*user); !done) return std::move(done).error();
    return std::move(out_);
  }

 private:
  Error wrong(const YamlNode& at, std::string why) const {
    return {Errc::config, Problem{path_, at.line, at.column, std::move(why)}.str()};
  }
  Error missing(const char* what, const char* list, const std::string& name) const {
    std::vector<std::string> names;
    if (const YamlNode* entries = root_.find(list))
      for (const YamlNode& entry : entries->items) names.push_back(text_in(&entry, "name"));
    return wrong(root_, fmt::format("there is no {} \"{}\" in it; {}", what, printable(name, 80),
                                    names.empty() ? fmt::format("the list {} is empty", list)
                                                  : suggestion(name, names)));
  }

  static std::string text_in(const YamlNode* map, std::string_view key) {
    const YamlNode* value = map && map->is_map() ? map->find(key) : nullptr;
    return value && value->kind == YamlNode::Kind::scalar ? value->scalar : std::string();
  }

  // `{name: …, <key>: {…}}` of the list with that name.
  const YamlNode* entry_of(std::string_view list, std::string_view key, const std::string& name) const {
    const YamlNode* entries = root_.find(list);
    if (!entries) return nullptr;
    for (const YamlNode& entry : entries->items) {
      if (!entry.is_map() || text_in(&entry, "name") != name) continue;
      const YamlNode* found = entry.find(key);
      if (found && found->is_map()) return found;
    }
    return nullptr;
  }

  std::string path_of(const std::string& name) const {
    if (name.empty() || name.front() == '/') return name;
    return path_.substr(0, path_.rfind('/') + 1) + name;
  }

  // The text of `<key>-data`, else the path of `<key>`.
  Result<Ok> take_pem(const YamlNode& map, const std::string& key, std::string& text,
                      std::string& file) const {
    const std::string data = text_in(&map, key + "-data");
    if (data.empty()) {
      file = path_of(text_in(&map, key));
      return Ok{};
    }
    auto decoded = registry::decode_base64(registry::trim_all(data));
    if (!decoded || decoded->empty())
      return wrong(*map.find(key + "-data"), fmt::format("{}-data is not base64", key));
    text = std::move(*decoded);
    return Ok{};
  }

  Result<Ok> take_cluster(const YamlNode& cluster) {
    const std::string server = text_in(&cluster, "server");
    auto url = registry::parse_url(server);
    if (!url)
      return wrong(cluster, server.empty() ? "the cluster has no server" : "server: " + url.error().message);
    out_.host = url->host;
    out_.port = url->port;
    out_.is_tls = url->scheme == "https";
    out_.path = url->path;
    if (cluster.find("proxy-url"))
      return wrong(*cluster.find("proxy-url"), "proxy-url is not supported; name the API server itself");
    out_.tls.server_name = text_in(&cluster, "tls-server-name");
    out_.tls.insecure_skip_verify = text_in(&cluster, "insecure-skip-tls-verify") == "true";
    if (auto done = take_pem(cluster, "certificate-authority", out_.tls.ca_pem, out_.tls.ca_file); !done)
      return done;
    out_.tls.system_cas = out_.tls.ca_pem.empty() && out_.tls.ca_file.empty();
    return Ok{};
  }

  Result<Ok> take_user(const YamlNode& user) {
    if (const YamlNode* name = user.find("username"))
      return wrong(*name,
                   "user name and password are not taken by Kubernetes since 1.19; give the user a token or "
                   "a client certificate");
    for (const char* key : {"exec", "auth-provider"})
      if (const YamlNode* plugin = user.find(key))
        return wrong(*plugin, fmt::format("{} is a program that layerd does not run; give it a user with a "
                                          "token or a client certificate",
                                          key));
    out_.token = text_in(&user, "token");
    out_.token_file = path_of(text_in(&user, "tokenFile"));
    if (auto done = take_pem(user, "client-certificate", out_.tls.cert_pem, out_.tls.cert_file); !done)
      return done;
    if (auto done = take_pem(user, "client-key", out_.tls.key_pem, out_.tls.key_file); !done) return done;
    const bool has_certificate = !out_.tls.cert_pem.empty() || !out_.tls.cert_file.empty(),
               has_key = !out_.tls.key_pem.empty() || !out_.tls.key_file.empty();
    if (has_certificate != has_key)
      return wrong(user, "the user has a client certificate and no key to it, or the other way round");
    if (out_.tls.cert_pem.empty() != out_.tls.key_pem.empty())
      return wrong(user,
                   "one of client certificate and key stands in the file and one beside it; write both as "
                   "…-data, or both as paths");
    return Ok{};
  }

  const std::string& path_;
  const YamlNode& root_;
  peers::KubernetesMembers out_;
};

}  // namespace

Result<peers::KubernetesMembers> parse_kubeconfig(const std::string& path, const std::string& text,
                                                  const std::string& context) {
  std::vector<Problem> problems;
  const YamlNode root = parse_yaml(path, text, problems);
  if (!problems.empty()) return {Errc::config, problems.front().str()};
  if (!root.is_map() || !root.find("clusters"))
    return {Errc::config, fmt::format("{} is no kubeconfig: it has no clusters", path)};
  return Kubeconfig(path, root).read(context);
}

}  // namespace layerd::daemon
