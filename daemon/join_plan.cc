#include "daemon/join_plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/config.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/net/address.h"
#include "proxy/peers/member_lines.h"

namespace layerd::daemon {
namespace {

constexpr const char* kHead = "# The configuration of layerd; every key is in docs/settings.md.\n";

class Join {
 public:
  explicit Join(const JoinInput& input) : in_(input), invitation_(input.invitation) {}

  Result<JoinPlan> run() {
    before_ = in_.config_text.value_or("");
    auto root = setup::read_yaml(in_.config_path, before_);
    if (!root) return std::move(root).error();
    const YamlNode* found = root->find("peers");
    const bool is_there = found && found->kind != YamlNode::Kind::null;
    if (is_there) {
      if (auto read = read_old(); !read && !in_.replace) return std::move(read).error();
      const YamlNode* said = found->is_map() && found->find("site") ? found->find("site") : found;
      if (auto other = what_differs(); !other.empty() && !in_.replace) return refuse(said->line, other);
    }
    const bool is_kept = is_there && what_differs().empty();
    auto text = is_kept ? with_members() : with_block();
    if (!text) return std::move(text).error();
    if (auto trusted = plan_trust(is_kept); !trusted) return std::move(trusted).error();
    if (auto good = check(*text); !good) return std::move(good).error();
    if (*text != before_ || !in_.config_text)
      plan_.files.push_back(
          {in_.config_path, std::move(*text), false,
           is_kept ? "the members that were missing" : "peers: this node is a member of " + site()});
    note_what_is_left(is_kept);
    plan_.needs_restart = !is_kept && !plan_.files.empty();
    return std::move(plan_);
  }

 private:
  bool has_secret() const { return !invitation_.secret.empty(); }
  std::string site() const { return invitation_.site.empty() ? "the site" : "site " + invitation_.site; }
  std::string beside_config(const char* name) const {
    return in_.config_path.substr(0, in_.config_path.rfind('/') + 1) + name;
  }

  // Files are not looked at: they may be what is written now.
  static LoadedConfig parsed(const std::string& path, const std::string& text) {
    const ReadText read = [](const std::string& name) -> Result<std::string> {
      return Error{Errc::not_found, "not looked at: " + name};
    };
    return parse_config(path, text, read, {.must_exist = true, .check_files = false, .environment = nullptr});
  }

  // Only `registries_file` is not there for this reading; what it says does not matter here.
  Result<Ok> read_old() {
    const LoadedConfig loaded = parsed(in_.config_path, without_registries(before_));
    if (!loaded.ok())
      return {Errc::config, "the configuration is wrong already: " + loaded.errors.front().str()};
    old_ = loaded.settings->peers;
    return Ok{};
  }

  static std::string without_registries(const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
      if (text.compare(at, 16, "registries_file:") != 0) out += text.substr(at, end - at);
      at = end;
    }
    return out;
  }

  // Why what is there cannot stay; empty: it can.
  std::string what_differs() const {
    if (!old_) return "is written in a way that layerd does not take";
    if (old_->members.site != invitation_.site)
      return fmt::format("names site \"{}\", and the invitation is to \"{}\"", old_->members.site,
                         invitation_.site);
    if (!old_->listen) return "has no listen";
    if (old_->secret_file.empty() == has_secret())
      return has_secret() ? "has no secret_file, and the site has a secret"
                          : "has a secret_file, and the members of the site have certificates";
    return {};
  }

  Error refuse(int line, const std::string& why) const {
    return {Errc::config,
            fmt::format("{}:{}: peers is configured already and {}; `layerd join --replace` writes it "
                        "anew",
                        in_.config_path, line, why)};
  }

  std::string trust_file() const {
    if (old_ && what_differs().empty()) return has_secret() ? old_->secret_file : old_->tls.ca_file;
    return beside_config(has_secret() ? "peer.key" : "peer-ca.pem");
  }

  Result<std::string> with_block() {
    std::string lines =
        fmt::format("  listen: {}\n",
                    yaml_quoted(in_.listen.empty() ? fmt::format("[::]:{}", invitation_.port) : in_.listen));
    if (!invitation_.site.empty()) lines += "  site: " + yaml_quoted(invitation_.site) + "\n";
    if (!in_.zone.empty()) lines += "  zone: " + yaml_quoted(in_.zone) + "\n";
    if (has_secret()) {
      lines += "  secret_file: " + yaml_quoted(trust_file()) + "\n";
    } else {
      if (in_.cert_file.empty() || in_.key_file.empty())
        return Error{
            Errc::config,
            "the members of this site know each other by certificates: have one made for this node by "
            "the site's CA and name it by --cert-file and --key-file"};
      lines += fmt::format("  tls:\n    cert_file: {}\n    key_file: {}\n    ca_file: {}\n    names:\n",
                           yaml_quoted(in_.cert_file), yaml_quoted(in_.key_file), yaml_quoted(trust_file()));
      for (const std::string& name : invitation_.names) lines += "      - " + yaml_quoted(name) + "\n";
    }
    if (!invitation_.dns.empty())
      lines +=
          fmt::format("  dns: {{name: {}, port: {}}}\n", yaml_quoted(invitation_.dns), invitation_.dns_port);
    if (!invitation_.members.empty()) lines += "  members:\n";
    for (const std::string& member : invitation_.members) lines += "    - " + yaml_quoted(member) + "\n";
    return setup::with_top_block(in_.config_path, in_.config_text ? before_ : kHead, "peers", lines);
  }

  // Only what people list themselves is added to; other sources know better.
  Result<std::string> with_members() {
    std::string text = before_;
    const peers::MembersSettings& old = old_->members;
    if (old.members.empty() && old.has_source()) return text;
    for (const std::string& entry : invitation_.members) {
      const auto member = peers::parse_member(entry, old.default_port());
      const bool is_listed =
          std::any_of(old.members.begin(), old.members.end(), [&](const peers::ListedMember& other) {
            return other.host == member->host && other.port == member->port;
          });
      if (is_listed) continue;
      auto more = setup::with_last_item(in_.config_path, text, {"peers", "members"}, entry);
      if (!more) return std::move(more).error();
      text = std::move(*more);
    }
    return text;
  }

  Result<Ok> plan_trust(bool is_kept) {
    const std::string path = trust_file();
    const std::string& wanted = has_secret() ? invitation_.secret : invitation_.ca;
    auto there = in_.read(path);
    if (!there) return std::move(there).error();
    if (*there && **there == wanted) return Ok{};
    // Of a member as well: an invitation may be older than the secret that the site has by now.
    if (*there && !in_.replace)
      return {
          Errc::config,
          fmt::format("{} is there already and holds something else{}; `layerd join --replace` overwrites it",
                      path, is_kept ? " (is the invitation older than it?)" : "")};
    plan_.files.push_back(
        {path, wanted, has_secret(), has_secret() ? "the secret of " + site() : "the CA of " + site()});
    return Ok{};
  }

  Result<Ok> check(const std::string& text) const {
    const LoadedConfig loaded = parsed(in_.config_path, without_registries(text));
    if (loaded.ok()) return Ok{};
    return {Errc::config, "the configuration would not be valid afterwards: " + loaded.errors.front().str()};
  }

  // Whoever is in the invitation's list is in the inviter's already. A name in it says nothing here.
  bool is_invited() const {
    return std::any_of(invitation_.members.begin(), invitation_.members.end(), [this](const auto& entry) {
      const auto member = peers::parse_member(entry, invitation_.port);
      const auto address = member ? net::parse_address(member->host, member->port) : std::nullopt;
      return address && net::kind_of(*address) != net::AddressKind::loopback &&
             std::any_of(in_.own.begin(), in_.own.end(),
                         [&](const net::Address& own) { return net::same_host(own, *address); });
    });
  }

  void note_what_is_left(bool is_kept) {
    if (is_kept && old_->members.members.empty() && old_->members.has_source())
      plan_.notes.push_back(
          "peers names its members by another source already; those of the invitation were not "
          "added");
    if (invitation_.dns.empty() && !is_invited())
      plan_.notes.push_back(
          "the other members take this node at once; add its address to their list (peers.members, "
          "or the file, the DNS name or the cluster behind it) so that it does its part");
  }

  const JoinInput& in_;
  const Invitation& invitation_;
  std::string before_;
  std::optional<PeersSettings> old_;
  JoinPlan plan_;
};

}  // namespace

Result<JoinPlan> plan_join(const JoinInput& input) { return Join(input).run(); }

}  // namespace layerd::daemon
