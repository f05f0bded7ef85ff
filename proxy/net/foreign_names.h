// Is a certificate somebody else's? A name that is off by a label is a server set up wrongly; names of quite
// another domain mean that the connection went to another server than the one meant. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace layerd::net {

// True if no name shares the domain of `host`: its last two labels, three below second levels such as "co.uk"
// (a heuristic). False for a certificate without names.
bool are_foreign(const std::vector<std::string>& names, std::string_view host);

}  // namespace layerd::net
