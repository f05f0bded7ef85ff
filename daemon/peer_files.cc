#include "daemon/peer_files.h"

#include <fmt/core.h>

#include <cstdlib>

#include "daemon/config_kubeconfig.h"
#include "proxy/net/tls_context.h"
#include "proxy/peers/member_lines.h"
#include "proxy/registry/endpoint.h"
#include "runtime/guarded_file.h"

namespace layerd::daemon {
namespace {

constexpr const char* kAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

Result<peers::KubernetesMembers> by_server(const KubernetesSettings& settings) {
  KubernetesSettings from = settings;
  if (settings.in_cluster) {
    const char *host = std::getenv("KUBERNETES_SERVICE_HOST"), *port = std::getenv("KUBERNETES_SERVICE_PORT");
    if (from.server.empty() && (!host || !port))
      return Error{Errc::config,
                   "in_cluster: KUBERNETES_SERVICE_HOST and _PORT are not in the environment; "
                   "write server"};
    const bool is_ipv6 = host && std::string_view(host).find(':') != std::string_view::npos;
    if (from.server.empty())
      from.server = fmt::format("https://{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
    if (from.token_file.empty()) from.token_file = std::string(kAccountFolder) + "/token";
    if (from.ca_file.empty()) from.ca_file = std::string(kAccountFolder) + "/ca.crt";
  }
  auto url = registry::parse_url(from.server);
  if (!url) return Error{Errc::config, "server: " + url.error().message};
  if (from.token_file.empty()) return Error{Errc::config, "server: a token_file is needed besides"};
  peers::KubernetesMembers out;
  out.host = url->host;
  out.port = url->port;
  out.is_tls = url->scheme == "https";
  out.path = url->path;
  out.token_file = from.token_file;
  out.tls.ca_file = from.ca_file;
  out.tls.system_cas = from.ca_file.empty();
  return out;
}

}  // namespace

net::PeerIdentitySettings identity_settings(const PeersSettings& peers) {
  net::PeerIdentitySettings settings;
  settings.site = peers.members.site;
  settings.secret_file = peers.secret_file;
  settings.cert_file = peers.tls.cert_file;
  settings.key_file = peers.tls.key_file;
  settings.ca_file = peers.tls.ca_file;
  settings.names = peers.tls.names;
  return settings;
}

Result<Ok> check_trust_files(const PeersSettings& peers) {
  auto trust = net::PeerTrust::build(identity_settings(peers));
  if (!trust) return std::move(trust).error();
  return Ok{};
}

Result<peers::KubernetesMembers> read_kubernetes(const PeersSettings& peers, const ReadText& read) {
  const KubernetesSettings& from = peers.kubernetes;
  Result<peers::KubernetesMembers> found = Error{};
  if (from.kubeconfig.empty()) {
    found = by_server(from);
  } else {
    auto text = read(from.kubeconfig);
    found = text ? parse_kubeconfig(from.kubeconfig, *text, from.context) : std::move(text).error();
  }
  if (!found) return found;
  found->site_label = from.site_label;
  found->zone_label = from.zone_label;
  found->member_port = from.port != 0 ? static_cast<std::uint16_t>(from.port) : peers.members.default_port();
  return found;
}

Result<Ok> check_kubernetes_files(const peers::KubernetesMembers& kubernetes) {
  if (!kubernetes.token_file.empty())
    if (auto token = read_guarded(kubernetes.token_file, peers::kMostToken); !token)
      return std::move(token).error();
  const net::TlsSettings& tls = kubernetes.tls;
  if (!kubernetes.is_tls ||
      (tls.ca_file.empty() && tls.ca_pem.empty() && tls.cert_file.empty() && tls.cert_pem.empty()))
    return Ok{};
  std::string complaint;
  auto context = net::TlsContext::build(tls, complaint);
  if (!context) return std::move(context).error();
  return Ok{};
}

Result<Ok> check_members_file(const std::string& path) {
  auto text = read_guarded(path, peers::kMostMembersFile);
  if (!text) return std::move(text).error();
  return Ok{};
}

std::vector<const std::string*> peer_files(const PeersSettings& peers) {
  std::vector<const std::string*> files{&peers.secret_file,          &peers.tls.cert_file,
                                        &peers.tls.key_file,         &peers.tls.ca_file,
                                        &peers.members.members_file, &peers.kubernetes.kubeconfig};
  if (const auto& kubernetes = peers.members.kubernetes)
    for (const std::string* name : {&kubernetes->token_file, &kubernetes->tls.ca_file,
                                    &kubernetes->tls.cert_file, &kubernetes->tls.key_file})
      files.push_back(name);
  return files;
}

}  // namespace layerd::daemon
