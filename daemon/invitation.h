// An invitation: one file by which a new node becomes a member (`layerd peers invite`, `layerd join`). JSON;
// docs/formats.md "Invitation". Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/settings.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::daemon {

inline constexpr std::size_t kMostInvitation = 2u << 20;
inline constexpr std::size_t kMostSecretText = 64 * 1024;

struct Invitation {
  std::string site;
  std::uint16_t port = 5152;         // where members listen
  std::vector<std::string> members;  // as in peers.members, who invites among them
  std::string dns;                   // peers.dns of who invites; empty: none
  std::uint16_t dns_port = 0;
  // One of the two.
  std::string secret;              // the text of peers.secret_file
  std::string ca;                  // PEM
  std::vector<std::string> names;  // peers.tls.names
  WallTime expires{};
};

std::string invitation_text(const Invitation& invitation);
// Errors: config: it is no invitation, damaged, of another version, or has expired at `now`. The sentence
// holds no secret.
Result<Invitation> parse_invitation(std::string_view text, WallTime now);

// "2026-12-01T12:18:00Z"
std::string utc_text(WallTime time);

}  // namespace layerd::daemon
