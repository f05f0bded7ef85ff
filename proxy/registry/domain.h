// Whose a host name is: the domain that somebody registered. Pure, any thread.
#pragma once

#include <string>
#include <string_view>

namespace layerd::registry {

// "auth.docker.io" and "registry-1.docker.io" are both of "docker.io". Empty for numeric addresses
// and single labels. A heuristic: the last two labels, three below second levels such as "co.uk".
std::string registrable_domain(std::string_view host);

}  // namespace layerd::registry
