#include "daemon/config_peers.h"

#include "daemon/config_members.h"
#include "daemon/peer_files.h"
#include "proxy/net/address.h"
#include "proxy/net/peer_card.h"
#include "proxy/peers/member_lines.h"
#include "runtime/log.h"

namespace layerd::daemon {
namespace {

using Node = const YamlNode&;
using Name = std::string_view;

constexpr std::size_t kMostEntries = 256;

// A path; empty: none. What its file comes to is told by finish_peers.
void apply_file(Node node, Name key, std::string& out, ConfigReader& reader, bool is_secret) {
  if (auto path = reader.named_file(node, key, is_secret)) out = std::move(*path);
}

void apply_zone(Node node, Name key, std::string& out, ConfigReader& reader) {
  auto word = reader.text(node, key);
  if (!word) return;
  if (!word->empty() && !peers::is_zone_name(*word))
    return reader.error(node, fmt::format("{}: \"{}\" is no name: at most {} letters, digits and -_. are "
                                          "possible",
                                          key, printable(*word, 80), peers::kMostZone));
  out = std::move(*word);
}

void apply_listen(Node node, Name key, PeersSettings& out, ConfigReader& reader) {
  if (node.kind == YamlNode::Kind::scalar && node.scalar.empty()) return out.listen.reset();
  if (auto address = reader.value(node, key, parse_listen)) out.listen = std::move(*address);
}

void apply_address(Node node, Name key, std::string& out, ConfigReader& reader) {
  auto word = reader.text(node, key);
  if (!word) return;
  auto numeric = net::parse_address(*word, 0);
  if (!word->empty() && !numeric)
    return reader.error(node,
                        fmt::format("{}: \"{}\" is no address: IPv4 or IPv6 without a port was expected, "
                                    "as 10.1.2.3",
                                    key, printable(*word, 60)));
  out = numeric ? numeric->host : std::string();
}

void apply_names(Node node, Name key, std::vector<std::string>& out, ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  out.clear();
  if (list->size() > kMostEntries)
    return reader.error(node, fmt::format("{}: at most {} patterns", key, kMostEntries));
  for (const auto& [text, at] : *list) {
    if (auto good = net::check_name_pattern(text); !good)
      reader.error(*at, fmt::format("{}: {}", key, good.error().message));
    else
      out.push_back(text);
  }
}

std::string show_names(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + yaml_quoted(name);
  return "[" + list + "]";
}

void apply_with(Node node, Name key, ShareDraft& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  if (*word != "all" && *word != "none")
    return reader.error(node, fmt::format("{}: \"{}\" is neither all nor none; {}", key, printable(*word, 40),
                                          suggestion(*word, {"all", "none"})));
  out.with_all = *word == "all";
}

void apply_share(Node node, Name key, peers::ShareRules& out, ConfigReader& reader) {
  out.rules.clear();
  if (node.kind != YamlNode::Kind::list)
    return reader.error(node,
                        fmt::format("{}: a list of {{match: pattern, with: all or none}} was expected", key));
  if (node.items.size() > kMostEntries)
    return reader.error(node, fmt::format("{}: at most {} rules are possible", key, kMostEntries));
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const YamlNode& item = node.items[i];
    const std::string where = fmt::format("{}[{}].", key, i);
    ShareDraft draft;
    read_map(item, share_keys(), draft, reader, UnknownKey::is_error, where);
    if (!item.is_map() || !item.find("match") || !item.find("with")) {
      reader.error(item, fmt::format("{}[{}]: match and with are both needed, as {{match: "
                                     "\"registry.example.com/secret/**\", with: none}}",
                                     key, i));
      continue;
    }
    auto pattern = registry::Pattern::compile(draft.match);
    if (!pattern)
      reader.error(*item.find("match"), fmt::format("{}match: {}", where, pattern.error().message));
    else
      out.rules.push_back({std::move(*pattern), draft.with_all});
  }
}

std::string show_share(const peers::ShareRules& share) {
  std::string list;
  for (const auto& rule : share.rules)
    list += fmt::format("{}{{match: {}, with: {}}}", list.empty() ? "" : ", ", yaml_quoted(rule.match.text()),
                        rule.with_all ? "all" : "none");
  return "[" + list + "]";
}

// False: the section lacks something, or has too much, to know others by; told.
bool check_trust(const YamlNode& section, const PeersSettings& peers, ConfigReader& reader) {
  const PeerTlsSettings& tls = peers.tls;
  const bool has_tls = !tls.cert_file.empty() || !tls.key_file.empty() || !tls.ca_file.empty();
  const bool has_secret = !peers.secret_file.empty();
  const YamlNode& tls_node = node_of(section, "tls");
  const auto refuse = [&reader](const YamlNode& at, std::string why) {
    reader.error(at, std::move(why));
    return false;
  };
  if (has_secret && has_tls)
    return refuse(tls_node,
                  "peers: secret_file and tls are both there; members know each other by one of them");
  if (peers.listen && !has_secret && !has_tls)
    return refuse(node_of(section, "listen"),
                  "peers.listen: without peers.secret_file or peers.tls there is no listener, since "
                  "everybody could ask it; make a secret by: layerd peers secret -o /etc/layerd/peer.key");
  if (has_tls && (tls.cert_file.empty() || tls.key_file.empty() || tls.ca_file.empty()))
    return refuse(tls_node, "peers.tls: cert_file, key_file and ca_file are all needed");
  if (!has_tls || !tls.names.empty()) return true;
  const YamlNode& names = node_of(tls_node, "names");
  if (names.kind == YamlNode::Kind::list && !names.items.empty()) return false;  // told entry by entry
  return refuse(
      tls_node,
      "peers.tls: names is needed: patterns of the members' names, as [\"*.plant-7.example\"], since "
      "the CA may have signed for others; [\"**\"] takes everybody it signed for");
}

// A secret or certificates by which the daemon would not share.
void warn_of_trust(const YamlNode& section, const PeersSettings& peers, const LoadOptions& options,
                   ConfigReader& reader) {
  if (!options.check_files || !peers.listen) return;
  if (auto good = check_trust_files(peers); !good)
    warn_of_file(node_of(section, peers.secret_file.empty() ? "tls" : "secret_file"), "nothing is shared",
                 good.error(), options, reader);
}

}  // namespace

const std::vector<Key<ShareDraft>>& share_keys() {
  static const std::vector<Key<ShareDraft>> kKeys{
      {"match", "pattern", "of a registry, or of registry/repository", true,
       "Which repositories, by the names they have behind aliases and mirrors; the first entry that matches "
       "decides. What none matches is shared.",
       [](Node n, Name k, ShareDraft& d, ConfigReader& r) {
         if (auto text = r.text(n, k)) d.match = std::move(*text);
       },
       [](const ShareDraft& d) { return yaml_quoted(d.match); }},
      {"with", "word", "all, none", true,
       "all: with every member of the site. none: neither asked of others nor given to them.", apply_with,
       [](const ShareDraft& d) { return std::string(d.with_all ? "all" : "none"); }},
  };
  return kKeys;
}

void read_from_peers(const YamlNode& node, std::string_view key, bool& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  if (*word != "offline" && *word != "never")
    return reader.error(node, fmt::format("{}: \"{}\" is neither offline nor never; {}", key,
                                          printable(*word, 40), suggestion(*word, {"offline", "never"})));
  out = *word == "offline";
}

std::vector<Key<Settings>> peer_keys() {
  std::vector<Key<Settings>> keys{
      {"peers.listen", "address", "numeric address and port; \"\" turns sharing off", false,
       "Where the other nodes of the site reach this one; \"[::]:5152\" is every address of the machine, "
       "of IPv4 as well. Not a loopback address, where nobody reaches it, and not the port of `listen`. "
       "Needs a secret or certificates.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_listen(n, k, s.peers, r); },
       [](const Settings& s) { return yaml_quoted(s.peers.listen ? s.peers.listen->str() : ""); }},
      {"peers.site", "text", "letters, digits and -_., at most 63", true,
       "The name of the site: the nodes of one LAN, the same on each. Members of another site are refused; "
       "those without a name are a site, too.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_zone(n, k, s.peers.members.site, r); },
       [](const Settings& s) { return yaml_quoted(s.peers.members.site); }},
      {"peers.zone", "text", "letters, digits and -_., at most 63", true,
       "This node's part of the site, as a rack or a room; sources in the same zone are asked first. "
       "Empty: as the list of members says.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_zone(n, k, s.peers.members.zone, r); },
       [](const Settings& s) { return yaml_quoted(s.peers.members.zone); }},
      {"peers.address", "address", "IPv4 or IPv6 without a port", true,
       "The address by which the others know this node, where layerd finds a wrong one.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_address(n, k, s.peers.members.address, r); },
       [](const Settings& s) { return yaml_quoted(s.peers.members.address); }},
      {"peers.secret_file", "file, secret", "read again when it changes", true,
       "The secret of the site, the same on every node (layerd peers secret makes one): who has it is a "
       "member. One line, or two while it is changed: the first is offered, both are taken. A file "
       "that everybody may read or write is refused: 0600 or 0640. Not beside `peers.tls`.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_file(n, k, s.peers.secret_file, r, false); },
       [](const Settings& s) { return yaml_quoted(s.peers.secret_file); }},
      {"peers.tls.cert_file", "file", "PEM; read again when it changes", true,
       "In place of a secret: this node's certificate, good as client and as server.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_file(n, k, s.peers.tls.cert_file, r, false);
       },
       [](const Settings& s) { return yaml_quoted(s.peers.tls.cert_file); }},
      {"peers.tls.key_file", "file, secret", "PEM; read again when it changes", true, "Its key.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_file(n, k, s.peers.tls.key_file, r, true); },
       [](const Settings& s) { return yaml_quoted(s.peers.tls.key_file); }},
      {"peers.tls.ca_file", "file", "PEM; read again when it changes", true,
       "The CA that has signed for the members.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_file(n, k, s.peers.tls.ca_file, r, false); },
       [](const Settings& s) { return yaml_quoted(s.peers.tls.ca_file); }},
      {"peers.tls.names", "list of patterns", "of DNS names, addresses or URIs", true,
       "The names that members' certificates may have: one of its subject alternative names must fit. * is "
       "any run of characters but . / and :, ** any run; as *.plant-7.example, 10.1.*.*, "
       "spiffe://plant-7/**.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_names(n, k, s.peers.tls.names, r); },
       [](const Settings& s) { return show_names(s.peers.tls.names); }},
  };
  for (const auto& key : member_source_keys()) keys.push_back(key);
  keys.push_back(
      {"peers.share", "list of {match, with}", "patterns of a registry or registry/repository; at most 256",
       true,
       "What is shared and what is not: in order, the first that matches decides; what none matches "
       "is shared.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_share(n, k, s.peers.share, r); },
       [](const Settings& s) { return show_share(s.peers.share); }});
  return keys;
}

void finish_peers(const YamlNode& root, PeersSettings& peers, const ReadText& read,
                  const LoadOptions& options, ConfigReader& reader) {
  const YamlNode* section = root.is_map() ? root.find("peers") : nullptr;
  if (!section || !section->is_map()) return;
  if (check_trust(*section, peers, reader)) warn_of_trust(*section, peers, options, reader);
  if (peers.listen) peers.members.listen = net::parse_address(peers.listen->host, peers.listen->port);
  finish_members(*section, peers, read, options, reader);
  const bool has_source = peers.members.has_source() || section->find("kubernetes");
  if (peers.listen && !has_source)
    reader.warn(*section, "peers: nobody to share with: members, members_file, dns or kubernetes is missing");
  if (!peers.listen && has_source)
    reader.warn(*section, "peers: nothing is shared without peers.listen, as \"[::]:5152\"");
}

}  // namespace layerd::daemon
