#include "daemon/config_members.h"

#include <cerrno>

#include "daemon/peer_files.h"
#include "proxy/net/address.h"
#include "proxy/peers/member_lines.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon {
namespace {

using Node = const YamlNode&;
using Name = std::string_view;

// The port of entries without one may stand further down; finish_peers reads them again.
// An entry that is none costs that member and no more.
void apply_members(Node node, Name key, PeersSettings& peers, ConfigReader& reader,
                   std::uint16_t default_port) {
  auto& out = peers.members.members;
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  out.clear();
  peers.unread_members.clear();
  if (list->size() > peers::kMostMembers)
    return reader.error(
        node, fmt::format("{}: {} members, at most {} are possible", key, list->size(), peers::kMostMembers));
  for (const auto& [text, at] : *list) {
    auto member = peers::parse_member(text, default_port);
    if (!member) {
      peers.unread_members.push_back(fmt::format("{}: {}", key, member.error().message));
      reader.warn(*at, peers.unread_members.back());
      continue;
    }
    const auto same = std::find_if(out.begin(), out.end(), [&](const peers::ListedMember& other) {
      return other.host == member->host && other.port == member->port;
    });
    if (same == out.end())
      out.push_back(std::move(*member));
    else
      reader.warn(*at, fmt::format("{}: {} is there twice, the second one is dropped", key, member->str()));
  }
}

std::string show_members(const std::vector<peers::ListedMember>& members) {
  std::string list;
  for (const auto& member : members)
    list += (list.empty() ? "" : ", ") +
            yaml_quoted(member.str() + (member.zone.empty() ? "" : " " + member.zone));
  return "[" + list + "]";
}

void apply_dns_name(Node node, Name key, peers::DnsMembers& out, ConfigReader& reader) {
  auto name = reader.text(node, key);
  if (!name) return;
  auto parsed = peers::parse_member(*name, peers::kPeerPort);
  const bool is_name =
      parsed && !net::parse_address(parsed->host, 0) && registry::equal_ascii_nocase(parsed->host, *name);
  if (!is_name)
    return reader.error(node, fmt::format("{}: \"{}\" is no host name; a port stands apart: {{name: "
                                          "layerd.site.internal, port: 5152}}",
                                          key, printable(*name, 80)));
  out.name = registry::lower_case(*name);
}

void apply_port(Node node, Name key, std::uint64_t& out, ConfigReader& reader) {
  const auto port =
      reader.value(node, key, [](std::string_view text) { return parse_whole(text, 1, 65535); });
  if (port) out = *port;
}

struct DnsDraft {
  peers::DnsMembers dns;
  std::uint64_t port = 0;
};

const std::vector<Key<DnsDraft>>& dns_keys() {
  static const std::vector<Key<DnsDraft>> kKeys{
      {"name", "host name", "", true, "The name.",
       [](Node n, Name k, DnsDraft& d, ConfigReader& r) { apply_dns_name(n, k, d.dns, r); },
       [](const DnsDraft& d) { return yaml_quoted(d.dns.name); }},
      {"port", "number", "1 to 65535", true, "The port of the members, where no SRV record gives one.",
       [](Node n, Name k, DnsDraft& d, ConfigReader& r) { apply_port(n, k, d.port, r); },
       [](const DnsDraft& d) { return std::to_string(d.port); }},
  };
  return kKeys;
}

// 0 stays for the port of peers.listen.
void apply_dns(Node node, Name key, PeersSettings& out, ConfigReader& reader) {
  DnsDraft draft;
  draft.dns.port = 0;
  if (node.kind == YamlNode::Kind::scalar) {
    out.members.dns.reset();
    if (node.scalar.empty()) return;
    apply_dns_name(node, key, draft.dns, reader);
  } else {
    read_map(node, dns_keys(), draft, reader, UnknownKey::is_error, std::string(key) + ".");
    if (node.is_map() && !node.find("name"))
      reader.error(node, fmt::format("{}: a name is needed, as {{name: layerd.site.internal}}", key));
    draft.dns.port = static_cast<std::uint16_t>(draft.port);
  }
  if (!draft.dns.name.empty()) out.members.dns = std::move(draft.dns);
}

std::string show_dns(const PeersSettings& peers) {
  if (!peers.members.dns) return "\"\"";
  return fmt::format("{{name: {}, port: {}}}", yaml_quoted(peers.members.dns->name), peers.members.dns->port);
}

void apply_label(Node node, Name key, std::string& out, ConfigReader& reader) {
  auto word = reader.text(node, key);
  if (!word) return;
  const bool is_label = word->size() <= 317 && std::all_of(word->begin(), word->end(), [](char c) {
                          return registry::is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
                        });
  if (!is_label)
    return reader.error(node, fmt::format("{}: \"{}\" is no name of a label; as topology.kubernetes.io/zone",
                                          key, printable(*word, 80)));
  out = std::move(*word);
}

void finish_kubernetes(const YamlNode& section, PeersSettings& peers, const ReadText& read,
                       const LoadOptions& options, ConfigReader& reader) {
  const YamlNode* node = section.find("kubernetes");
  if (!node || node->kind == YamlNode::Kind::null) return;
  const KubernetesSettings& from = peers.kubernetes;
  const bool has_server = !from.server.empty() || !from.token_file.empty() || from.in_cluster;
  if (!from.kubeconfig.empty() && has_server)
    return reader.error(*node,
                        "peers.kubernetes: kubeconfig says where the server is; server, token_file and "
                        "in_cluster stand in its place, not beside it");
  // Told already, or turned off by an empty text.
  if (node->is_map() && node->find("kubeconfig") && from.kubeconfig.empty() && !has_server) return;
  if (from.kubeconfig.empty() && !has_server)
    return reader.error(*node,
                        "peers.kubernetes: kubeconfig is needed, or server and token_file, or "
                        "in_cluster: true");
  if (!from.site_label.empty() && peers.members.site.empty())
    return reader.error(
        node_of(*node, "site_label"),
        "peers.kubernetes.site_label: peers.site is missing, whose value the label must have");
  constexpr std::string_view kCost = "the list of peers.kubernetes is not read";
  auto found = read_kubernetes(peers, read);
  if (!found && from.in_cluster && from.server.empty()) {
    peers.kubeconfig_fault = found.error().message;
    return reader.warn(node_of(*node, "in_cluster"),
                       fmt::format("peers: {}: {}", kCost, found.error().message));
  }
  if (!found && from.kubeconfig.empty())
    return reader.file_problem(node_of(*node, "server"), "peers.kubernetes: " + found.error().message);
  if (!found) {
    peers.kubeconfig_fault = found.error().message;
    return warn_of_file(node_of(*node, "kubeconfig"), kCost, found.error(), options, reader);
  }
  peers.members.kubernetes = std::move(*found);
  if (!options.check_files || !peers.listen) return;
  if (auto good = check_kubernetes_files(*peers.members.kubernetes); !good)
    warn_of_file(*node, kCost, good.error(), options, reader);
}

// Complaints about the entries were written when they were read first.
void read_members_again(const YamlNode& section, PeersSettings& peers) {
  const YamlNode* node = section.find("members");
  if (!node || peers.members.members.empty()) return;
  std::vector<Problem> ignored;
  ConfigReader silent("", false, ignored, ignored);
  apply_members(*node, "peers.members", peers, silent, peers.members.default_port());
}

}  // namespace

std::vector<Key<Settings>> member_source_keys() {
  return {
      {"peers.members", "list of members", "host:port, with a zone behind it as one word; at most 10000",
       true,
       "The nodes of the site; this one may be among them. Without a port that of `peers.listen` is meant. "
       "All sources (members, members_file, dns, kubernetes) add up.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_members(n, k, s.peers, r, peers::kPeerPort);
       },
       [](const Settings& s) { return show_members(s.peers.members.members); }},
      {"peers.members_file", "file", "an absolute path; at most 1 MiB", true,
       "The same in a file, one member a line, # begins a comment; read again when it changes. It need not "
       "be there yet.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.path(n, k)) s.peers.members.members_file = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.members.members_file); }},
      {"peers.dns", "name, or {name, port}", "a host name", true,
       "A name of DNS whose SRV records (of _layerd._tcp.NAME, or of a name that begins with _) or addresses "
       "are the members; asked again when its TTL has run out.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_dns(n, k, s.peers, r); },
       [](const Settings& s) { return show_dns(s.peers); }},
      {"peers.kubernetes.kubeconfig", "file, secret", "an absolute path", true,
       "Nodes of a cluster are members: this kubeconfig says where its API server is. Needs get, list and "
       "watch on nodes, nothing else. In its place, not beside it: server and token_file, or in_cluster.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.path(n, k)) s.peers.kubernetes.kubeconfig = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.kubeconfig); }},
      {"peers.kubernetes.context", "text", "a context of the kubeconfig", true,
       "Where it is not the file's current one.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto text = r.text(n, k)) s.peers.kubernetes.context = std::move(*text);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.context); }},
      {"peers.kubernetes.in_cluster", "true or false", "", true,
       "true: layerd runs in a pod; the server, the CA and the token are those of its service account.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto value = r.value(n, k, parse_bool)) s.peers.kubernetes.in_cluster = *value;
       },
       [](const Settings& s) { return std::string(s.peers.kubernetes.in_cluster ? "true" : "false"); }},
      {"peers.kubernetes.server", "URL", "https://host:port", true,
       "The API server, where no kubeconfig names it.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto text = r.text(n, k)) s.peers.kubernetes.server = std::move(*text);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.server); }},
      {"peers.kubernetes.token_file", "file, secret", "read again when it changes", true,
       "A file with the token of a service account.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.named_file(n, k, true)) s.peers.kubernetes.token_file = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.token_file); }},
      {"peers.kubernetes.ca_file", "file", "PEM; read again when it changes", true,
       "The CA of the API server.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.named_file(n, k, false)) s.peers.kubernetes.ca_file = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.ca_file); }},
      {"peers.kubernetes.site_label", "name of a label", "", true,
       "Only nodes on which it has the value of `peers.site` are members; a cluster may span sites. Empty: "
       "all nodes are.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_label(n, k, s.peers.kubernetes.site_label, r);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.site_label); }},
      {"peers.kubernetes.zone_label", "name of a label", "", true,
       "Its value is the zone of the node; empty: none.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_label(n, k, s.peers.kubernetes.zone_label, r);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.kubernetes.zone_label); }},
      {"peers.kubernetes.port", "number", "1 to 65535", true,
       "Where the nodes listen for each other; where it is missing the port of `peers.listen`.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         std::uint64_t port = 0;
         apply_port(n, k, port, r);
         s.peers.kubernetes.port = static_cast<unsigned>(port);
       },
       [](const Settings& s) {
         return s.peers.kubernetes.port == 0 ? "" : std::to_string(s.peers.kubernetes.port);
       }},
  };
}

const YamlNode& node_of(const YamlNode& section, std::string_view key) {
  const YamlNode* found = section.is_map() ? section.find(key) : nullptr;
  return found ? *found : section;
}

void warn_of_file(const YamlNode& at, std::string_view cost, const Error& error, const LoadOptions& options,
                  ConfigReader& reader) {
  const bool is_shut = error.sys_errno == EACCES || error.sys_errno == EPERM;
  if (is_shut && !options.is_daemon)
    return reader.warn(at,
                       fmt::format("peers: not checked: {}; layerd may be given it where this user is not: "
                                   "ask again as root",
                                   error.message));
  reader.warn(at, fmt::format("peers: {}: {}; layerd takes it by itself once it is right, and a running one "
                              "goes on with what it had",
                              cost, error.message));
}

void finish_members(const YamlNode& section, PeersSettings& peers, const ReadText& read,
                    const LoadOptions& options, ConfigReader& reader) {
  read_members_again(section, peers);
  if (peers.members.dns && peers.members.dns->port == 0)
    peers.members.dns->port = peers.members.default_port();
  finish_kubernetes(section, peers, read, options, reader);
  if (!options.check_files || !peers.listen || peers.members.members_file.empty()) return;
  if (auto good = check_members_file(peers.members.members_file); !good)
    warn_of_file(node_of(section, "members_file"), "the list of peers.members_file is not read", good.error(),
                 options, reader);
}

}  // namespace layerd::daemon
