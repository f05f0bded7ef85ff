// Which of the members is this node: by its own addresses and the port it listens on. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proxy/peers/member.h"
#include "proxy/peers/members_settings.h"

namespace layerd::peers {

// What the machine says of itself: proxy/net/own_addresses.h, or a test.
struct Machine {
  std::function<std::vector<net::Address>()> addresses;
  std::function<std::optional<net::Address>(const net::Address& to)> source_towards;
  static Machine real();
};

struct OwnId {
  std::string id;                       // empty: it cannot be told yet
  std::vector<std::string> complaints;  // sentences
};
// Finds our id and makes `members` right: an entry that is this node under another address (a loopback one, a
// second interface) becomes ours or goes away.
OwnId find_own_id(const MembersSettings& settings, const Machine& machine, std::vector<Member>& members);

}  // namespace layerd::peers
