// PeerCard: who is at the other end of a connection between members, and the text in which a member says who
// it is (docs/peers.md "Trust"). Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::net {

// The protocol between members that this program speaks.
inline constexpr unsigned kPeerVersion = 1;
inline constexpr const char* kPeerAlpn = "layerd-peer";

struct PeerCard {
  // "10.1.2.3:5152". Of who dialled us: as it said. With a secret it is part of the handshake; with a
  // certificate it is empty until the first request names it, and is_plausible() says whether it may be so.
  std::string id;
  std::string site;
  unsigned version = kPeerVersion;   // of the protocol
  bool by_certificate = false;       // else by a site secret
  std::string key;                   // the name of the secret (PeerSecret::name)
  std::vector<std::string> names;    // DNS names, addresses and URIs of its certificate, 50 at most
  std::vector<std::string> own_ips;  // the addresses among them
  std::string address;               // where the connection comes from, without its port
};

// May a member with this certificate be `id`? A numeric address with a port; that of the connection or one of
// the certificate's, if that has any. Errors: denied, with the reason.
Result<Ok> check_plausible(const PeerCard& card, std::string_view id);

// 1 to 63 letters, digits, '.', '-' and '_'; an empty one is allowed and a name like another.
bool is_site_name(std::string_view site);
// A numeric address with a port, written as Address::str() writes it.
bool is_member_id(std::string_view id);

// What a member offers in its handshake, in clear: "layerd-peer/1 key=0123456789abcdef site=berlin
// id=10.1.2.3:5152 role=dial".
struct PeerGreeting {
  unsigned version = kPeerVersion;
  std::string key, site, id;
};
inline constexpr std::size_t kMostGreeting = 512;
std::string text_of(const PeerGreeting& greeting);
// Nothing: it is none. Words that are not known are passed over, for versions to come.
std::optional<PeerGreeting> parse_greeting(std::string_view text);

// Does `name` (of a certificate) fit one of `patterns`? '*' is any run of characters but '.', '/' and ':';
// '**' any run; no difference between capital and small letters.
bool fits_any(const std::vector<std::string>& patterns, std::string_view name);
// Errors: config; empty, longer than 255 bytes, or blanks in it.
Result<Ok> check_name_pattern(std::string_view pattern);

}  // namespace layerd::net
