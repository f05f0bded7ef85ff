#include "daemon/invitation.h"

#include <fmt/core.h>

#include <cstdio>
#include <ctime>
#include <optional>

#include "proxy/net/peer_card.h"
#include "proxy/net/peer_secret.h"
#include "proxy/net/tls_files.h"
#include "proxy/peers/member_lines.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::daemon {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMostNames = 256;

Error wrong(std::string_view why) {
  return {Errc::config, "this is no invitation that layerd can take: " + std::string(why)};
}

std::optional<WallTime> time_of(const std::string& text) {
  std::tm when{};
  char rest = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%c", &when.tm_year, &when.tm_mon, &when.tm_mday,
                  &when.tm_hour, &when.tm_min, &when.tm_sec, &rest) != 7 ||
      rest != 'Z' || text.size() != 20)
    return std::nullopt;
  when.tm_year -= 1900;
  when.tm_mon -= 1;
  const std::time_t seconds = ::timegm(&when);
  // Later than 2255 no clock of ours can count.
  if (seconds < 0 || seconds > 9'000'000'000) return std::nullopt;
  return WallTime(std::chrono::seconds(seconds));
}

// A list of texts, each of which `is_good` takes; nothing if anything else is in it.
template <class IsGood>
std::optional<std::vector<std::string>> texts_of(const Json& object, const char* key, std::size_t most,
                                                 IsGood is_good) {
  std::vector<std::string> texts;
  const Json* list = json_find(object, key);
  if (!list) return texts;
  if (!list->is_array() || list->size() > most) return std::nullopt;
  for (const Json& item : *list) {
    if (!item.is_string() || !is_good(item.get<std::string>())) return std::nullopt;
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

Result<Ok> take_trust(const Json& json, Invitation& out) {
  out.secret = json_string(json, "secret");
  out.ca = json_string(json, "ca");
  if (out.secret.empty() == out.ca.empty()) return wrong("it must hold either a secret or a CA");
  if (out.secret.size() > kMostSecretText || out.secret.find('\0') != std::string::npos)
    return wrong("its secret is none");
  if (!out.secret.empty())
    if (auto secrets = net::PeerSecret::parse_all(out.secret); !secrets)
      return wrong("its secret: " + secrets.error().message);
  if (!out.ca.empty())
    if (auto authorities = net::parse_certificates("its CA", out.ca); !authorities)
      return wrong(authorities.error().message);
  auto names = texts_of(json, "names", kMostNames,
                        [](const std::string& text) { return net::check_name_pattern(text).ok(); });
  if (!names || (!out.ca.empty() && names->empty())) return wrong("the names of members in it are none");
  out.names = std::move(*names);
  return Ok{};
}

}  // namespace

std::string utc_text(WallTime time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch());
  const std::time_t when = seconds.count();
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string invitation_text(const Invitation& invitation) {
  Json json = {{"layerd_invitation", kVersion},
               {"site", invitation.site},
               {"expires", utc_text(invitation.expires)},
               {"port", invitation.port},
               {"members", invitation.members}};
  if (!invitation.dns.empty()) json["dns"] = {{"name", invitation.dns}, {"port", invitation.dns_port}};
  if (!invitation.secret.empty()) json["secret"] = invitation.secret;
  if (!invitation.ca.empty()) json["ca"] = invitation.ca;
  if (!invitation.names.empty()) json["names"] = invitation.names;
  return dump_json(json, 1) + "\n";
}

Result<Invitation> parse_invitation(std::string_view text, WallTime now) {
  const auto json = parse_json(text, {kMostInvitation, 4});
  if (!json || !json_find(*json, "layerd_invitation"))
    return wrong("make one by `layerd peers invite` on a node of the site");
  if (json_int(*json, "layerd_invitation") != kVersion)
    return wrong("another version of layerd made it; take the same version here and there");
  Invitation out;
  const auto expires = time_of(json_string(*json, "expires"));
  if (!expires) return wrong("it does not say when it expires");
  out.expires = *expires;
  if (now >= out.expires)
    return {Errc::config,
            fmt::format("the invitation expired at {}, and it is {} here; make a new one by `layerd "
                        "peers invite`, or set the clock",
                        utc_text(out.expires), utc_text(now))};
  out.site = json_string(*json, "site");
  if (!out.site.empty() && !peers::is_zone_name(out.site)) return wrong("the name of its site is none");
  const std::int64_t port = json_int(*json, "port");
  if (port < 1 || port > 65535) return wrong("its port is none");
  out.port = static_cast<std::uint16_t>(port);
  auto members = texts_of(*json, "members", peers::kMostMembers, [&](const std::string& member) {
    return member.find_first_of("\n\"\\") == std::string::npos && peers::parse_member(member, out.port).ok();
  });
  if (!members) return wrong("one of its members is none");
  out.members = std::move(*members);
  if (const Json* dns = json_find(*json, "dns")) {
    out.dns = json_string(*dns, "name");
    const std::int64_t dns_port = json_int(*dns, "port", out.port);
    if (!peers::parse_member(out.dns, 1).ok() || out.dns.find(':') != std::string::npos || dns_port < 1 ||
        dns_port > 65535)
      return wrong("its DNS name is none");
    out.dns_port = static_cast<std::uint16_t>(dns_port);
  }
  if (out.members.empty() && out.dns.empty()) return wrong("it names no members");
  if (auto trust = take_trust(*json, out); !trust) return std::move(trust).error();
  return out;
}

}  // namespace layerd::daemon
