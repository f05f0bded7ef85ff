#include "daemon/peers_command.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "daemon/admin_client.h"
#include "daemon/config_values.h"
#include "daemon/invitation.h"
#include "daemon/print.h"
#include "proxy/net/address.h"
#include "proxy/net/peer_secret.h"
#include "proxy/net/tls_files.h"
#include "proxy/peers/member_source.h"
#include "proxy/peers/merge_members.h"
#include "runtime/file.h"
#include "runtime/guarded_file.h"

namespace layerd::daemon {
namespace {

constexpr std::chrono::hours kMostExpires{24 * 365};

std::string joined(const Json* list) {
  std::string text;
  for (const auto& item : list && list->is_array() ? *list : Json::array())
    if (item.is_string()) text += (text.empty() ? "" : ", ") + item.get<std::string>();
  return text;
}

std::uint64_t number(const Json& row, const char* key) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, json_int(row, key)));
}

std::string latency(const Json& row) {
  const Json* value = json_find(row, "latency_ms");
  return value && value->is_number() ? fmt::format("{:.1f} ms", value->get<double>()) : "-";
}

void print_members(const Json& members) {
  if (!members.is_array() || members.empty()) return;
  std::vector<std::vector<std::string>> rows{
      {"MEMBER", "NAME", "ZONE", "STATE", "LATENCY", "SENT", "RECEIVED", "FAULTS", "LISTED BY"}};
  for (const auto& row : members) {
    const bool is_self = row.value("is_self", false);
    const auto wrong = number(row, "wrong_units");
    const std::string sources = joined(json_find(row, "sources"));
    const std::string faults =
        std::to_string(number(row, "faults")) + (wrong > 0 ? fmt::format(" and {} wrong units", wrong) : "");
    rows.push_back({json_string(row, "id"), json_string(row, "name"), json_string(row, "zone"),
                    is_self ? "this node" : json_string(row, "state"), is_self ? "-" : latency(row),
                    is_self ? "-" : human_bytes(number(row, "sent_bytes")),
                    is_self ? "-" : human_bytes(number(row, "received_bytes")), is_self ? "-" : faults,
                    sources.empty() && !is_self ? "nobody" : sources});
  }
  fmt::print("\n{}", table(rows));
}

// What the last word was of those that are not well.
void print_troubles(const Json& members) {
  for (const auto& row : members.is_array() ? members : Json::array()) {
    const std::string state = json_string(row, "state"), error = json_string(row, "last_error");
    if (error.empty() || (state != "dead" && state != "refused" && state != "avoided")) continue;
    fmt::print("! {} is {}: {}\n", json_string(row, "id"), state, error);
  }
}

void print_peers(const Json& peers) {
  if (!peers.value("is_on", false)) {
    fmt::print("nothing is shared: peers.listen is not configured (docs/settings.md)\n");
    return;
  }
  const std::string site = json_string(peers, "site"), zone = json_string(peers, "zone"),
                    self = json_string(peers, "self");
  fmt::print("site {}{}: {}, listening at {}, members know each other by {}\n",
             site.empty() ? "without a name" : site, zone.empty() ? "" : ", zone " + zone,
             self.empty() ? "this node's own address is not known yet" : "this node is " + self,
             json_string(peers, "listen"),
             json_string(peers, "trust") == "tls" ? "certificates" : "the site's secret");
  const Json *sources = json_find(peers, "sources"), *complaints = json_find(peers, "complaints"),
             *members = json_find(peers, "members");
  for (const auto& source : sources && sources->is_array() ? *sources : Json::array())
    fmt::print("{}{}: {} members{}\n", json_string(source, "name"),
               json_string(source, "of").empty() ? "" : " (" + json_string(source, "of") + ")",
               number(source, "members"),
               source.value("is_kept", false) ? ", as kept on disk: it has not answered yet" : "");
  for (const auto& complaint : complaints && complaints->is_array() ? *complaints : Json::array())
    if (complaint.is_string()) fmt::print("! {}\n", complaint.get<std::string>());
  if (members) print_troubles(*members);
  if (members) print_members(*members);
}

int fail(const Error& error) {
  fmt::print(stderr, "layerd: {}\n", error.message);
  return error.code == Errc::config ? 2 : 1;
}

// "10.0.0.1:5152", with the zone behind it.
std::string entry_of(const std::string& id, const std::string& zone) {
  return zone.empty() ? id : id + " " + zone;
}

Result<std::vector<std::string>> members_of_daemon(const Json& peers) {
  std::vector<std::string> members;
  const std::string self = json_string(peers, "self");
  if (self.empty())
    return {Errc::config, "the daemon does not know its own address yet; write it into peers.address"};
  const Json* rows = json_find(peers, "members");
  bool has_self = false;
  for (const auto& row : rows && rows->is_array() ? *rows : Json::array()) {
    const bool is_self = row.value("is_self", false);
    if (!is_self && joined(json_find(row, "sources")).empty())
      continue;  // who took something is no member yet
    has_self |= is_self;
    members.push_back(entry_of(json_string(row, "id"), json_string(row, "zone")));
  }
  if (!has_self) members.push_back(entry_of(self, json_string(peers, "zone")));
  return members;
}

Result<std::vector<std::string>> members_of_settings(const PeersSettings& peers) {
  peers::SourceList listed{"peers.members", true, {}};
  std::vector<std::string> members;
  for (const peers::ListedMember& member : peers.members.members) {
    if (auto address = net::parse_address(member.host, member.port))
      listed.members.push_back(peers::member_at(std::move(*address), member.zone, ""));
    else
      members.push_back(entry_of(member.str(), member.zone));
  }
  const auto merged = peers::merge_members({listed}, peers.members, peers::Machine::real());
  if (merged.self.empty())
    return {Errc::config, "this node's own address cannot be told; write it into peers.address"};
  bool has_self = false;
  for (const peers::Member& member : merged.members) {
    has_self |= member.id == merged.self;
    members.push_back(entry_of(member.id, member.zone));
  }
  if (!has_self) members.push_back(entry_of(merged.self, peers.members.zone));
  return members;
}

Result<std::vector<std::string>> members_known(const Settings& settings) {
  auto answer = settings.admin_socket.empty() ? Result<AdminAnswer>(Errc::not_found, "no socket")
                                              : ask_admin(settings.admin_socket, "GET", "/v1/peers", 10);
  if (answer && answer->status == 200 && answer->body.value("is_on", false))
    return members_of_daemon(answer->body);
  return members_of_settings(settings.peers);
}

Result<Invitation> invitation_of(const Settings& settings, Duration expires) {
  const PeersSettings& peers = settings.peers;
  if (!peers.is_on())
    return {Errc::config, "this node shares nothing itself: peers.listen is not configured"};
  Invitation invitation;
  invitation.site = peers.members.site;
  invitation.port = peers.members.default_port();
  if (peers.members.dns) {
    invitation.dns = peers.members.dns->name;
    invitation.dns_port = peers.members.dns->port;
  }
  invitation.expires = std::chrono::system_clock::now() + expires;
  if (!peers.secret_file.empty())  // what this node would not take itself is nothing to give to others
    if (auto secrets = net::PeerSecret::read(peers.secret_file); !secrets) return std::move(secrets).error();
  auto trust =
      read_guarded(peers.secret_file.empty() ? peers.tls.ca_file : peers.secret_file, kMostSecretText);
  if (!trust) return std::move(trust).error();
  if (peers.secret_file.empty())
    if (auto authorities = net::parse_certificates(peers.tls.ca_file, *trust); !authorities)
      return std::move(authorities).error();
  (peers.secret_file.empty() ? invitation.ca : invitation.secret) = std::move(*trust);
  if (peers.secret_file.empty()) invitation.names = peers.tls.names;
  auto members = members_known(settings);
  if (!members) return std::move(members).error();
  invitation.members = std::move(*members);
  return invitation;
}

// A file that is there is only overwritten if it is an invitation, too.
Result<Ok> check_output(const std::string& path) {
  auto old = read_file(path, kMostInvitation);
  if (!old && old.error().sys_errno == ENOENT) return Ok{};
  if (old && old->find("\"layerd_invitation\"") != std::string::npos) return Ok{};
  return {Errc::config, path + " is there already and is no invitation; name another file"};
}

// The daemon asks whoever it has not heard of lately; once they have answered, or for so long not, what it
// says is how they are.
Result<AdminAnswer> ask_for_peers(const std::string& socket_path) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  Duration pause = std::chrono::milliseconds(50);
  while (true) {
    auto answer = ask_admin(socket_path, "GET", "/v1/peers", 10);
    const bool is_asking = answer && answer->status == 200 && answer->body.value("asking", 0) > 0;
    if (!is_asking || std::chrono::steady_clock::now() >= end) return answer;
    std::this_thread::sleep_for(pause);
    pause *= 2;  // a long list is much to write down
  }
}

}  // namespace

int peers_command(const std::string& socket_path, bool json) {
  auto answer = ask_for_peers(socket_path);
  if (!answer) return fail(answer.error());
  if (answer->status != 200) {
    const Json* error = json_find(answer->body, "error");
    return fail(
        {Errc::upstream_status, error ? json_string(*error, "message") : "the daemon does not know it"});
  }
  if (json)
    fmt::print("{}\n", dump_json(answer->body, 2));
  else
    print_peers(answer->body);
  return 0;
}

std::string left_out_of_invitation(const PeersSettings& peers) {
  const bool has_file = !peers.members.members_file.empty(),
             has_cluster = peers.members.kubernetes || !peers.kubernetes.kubeconfig.empty();
  if (!has_file && !has_cluster) return "";
  const std::string sources = has_file && has_cluster ? "peers.members_file and peers.kubernetes"
                              : has_file              ? "peers.members_file"
                                                      : "peers.kubernetes";
  return "the invitation carries today's members and not " + sources +
         ", by which this node learns of later ones: give the new node the same, and leave peers.members out "
         "there";
}

int invite_command(const Settings& settings, const InviteOptions& options) {
  const auto expires = parse_duration(options.expires);
  if (!expires || *expires < std::chrono::minutes(1) || *expires > kMostExpires)
    return fail({Errc::config, "--expires: a duration from 1m to 365d was expected, as 24h"});
  if (options.output.empty() && is_terminal(1))
    return fail({Errc::config,
                 "an invitation holds what makes a member and is not shown on a terminal; write it "
                 "into a file by -o FILE, or into a pipe"});
  if (!options.output.empty())
    if (auto free = check_output(options.output); !free) return fail(free.error());
  const auto invitation = invitation_of(settings, *expires);
  if (!invitation) return fail(invitation.error());
  const std::string text = invitation_text(*invitation);
  if (const auto note = left_out_of_invitation(settings.peers); !note.empty())
    fmt::print(stderr, "layerd: note: {}\n", note);
  if (options.output.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  if (auto written = replace_file(options.output, text, 0600); !written) return fail(written.error());
  fmt::print(
      "{}: an invitation to {} with {} members, good until {}. Whoever has the file can become a member: "
      "carry it there by ssh, and run there: layerd join FILE\n",
      options.output, invitation->site.empty() ? "the site" : "site " + invitation->site,
      invitation->members.size(), utc_text(invitation->expires));
  return 0;
}

}  // namespace layerd::daemon
