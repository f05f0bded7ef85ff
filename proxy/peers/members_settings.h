// Where the members of the site come from: the keys of `peers` that say so, read and checked. Plain values,
// any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/dialer.h"
#include "proxy/net/stream.h"

namespace layerd::peers {

inline constexpr std::uint16_t kPeerPort = 5152;
inline constexpr std::size_t kMostMembers = 10'000;
inline constexpr std::size_t kMostToken = 64 * 1024;  // bytes

// One member as somebody wrote it down.
struct ListedMember {
  std::string host;  // a name, or a numeric address without brackets
  std::uint16_t port = 0;
  std::string zone;  // empty: none
  std::string str() const;
  bool operator==(const ListedMember&) const = default;
};

// A name of DNS. SRV records of `name` itself if it begins with "_", else of _layerd._tcp.<name>; where
// there are none, each address of the name is a member with `port`.
struct DnsMembers {
  std::string name;
  std::uint16_t port = kPeerPort;
  bool operator==(const DnsMembers&) const = default;
};

// The nodes of a cluster, asked at its API server.
struct KubernetesMembers {
  std::string host;  // of the API server; name or numeric, no brackets
  std::uint16_t port = 443;
  bool is_tls = true;
  std::string path;  // before /api/v1; no slash at its end
  net::TlsSettings tls;
  std::string token;       // as it is; a file wins over it
  std::string token_file;  // read again when it changes or the server refuses it
  std::string site_label;  // its value must be MembersSettings::site; empty: every node is a member
  std::string zone_label = "topology.kubernetes.io/zone";
  std::uint16_t member_port = kPeerPort;
  std::string server() const;  // "https://10.0.0.1:6443", for people
  bool operator==(const KubernetesMembers&) const = default;
};

struct MembersSettings {
  std::string site;
  std::string zone;                    // of this node
  std::optional<net::Address> listen;  // the peer listener; nothing: this node shares nothing
  std::string address;                 // of this node as others list it; empty: found by itself
  std::vector<ListedMember> members;
  std::string members_file;  // empty: none
  std::optional<DnsMembers> dns;
  std::optional<KubernetesMembers> kubernetes;
  std::string state_file;  // where the last good lists are kept; empty: nowhere
  // The port of members that are listed without one.
  std::uint16_t default_port() const { return listen && listen->port != 0 ? listen->port : kPeerPort; }
  bool has_source() const { return !members.empty() || !members_file.empty() || dns || kubernetes; }
};

}  // namespace layerd::peers
