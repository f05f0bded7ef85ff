// What the Kubernetes API says of nodes, read from the pieces that JsonSieve leaves of it. Hostile text: what
// does not fit is refused or left out. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "proxy/net/stream.h"
#include "proxy/peers/members_settings.h"
#include "runtime/result.h"

namespace layerd::peers {

struct NodeFacts {
  std::string name;
  std::string address;  // its first InternalIP, numeric; empty: none
  std::string zone;     // empty: none, or no word that can be one
  bool is_ready = false;
  bool is_of_site = true;  // has the site's label, where one is wanted
  bool operator==(const NodeFacts&) const = default;
};

// What an answer holds that is no node: the end of a list, or a Status that says why there is none.
struct ListFacts {
  std::string resource_version;
  std::string more;  // the token of the next page; empty: that was all
  int code = 0;      // of a Status
  std::string message;
};

struct NodeEvent {
  enum class Kind { changed, deleted, bookmark, error };
  Kind kind = Kind::bookmark;
  NodeFacts node;                // changed, deleted
  std::string resource_version;  // all but error
  ListFacts status;              // error
};

inline constexpr std::size_t kMostNodeName = 253;

// The names of members that JsonSieve has to keep for these functions.
std::set<std::string, std::less<>> wanted_of_nodes(const KubernetesMembers& settings);

// Errors: upstream_protocol.
Result<NodeFacts> parse_node(std::string_view text, const KubernetesMembers& settings,
                             const std::string& site);
Result<ListFacts> parse_list_end(std::string_view text);
Result<NodeEvent> parse_node_event(std::string_view text, const KubernetesMembers& settings,
                                   const std::string& site);

}  // namespace layerd::peers
