// What addresses this machine has. Any thread; two or three system calls that do not wait.
#pragma once

#include <optional>
#include <vector>

#include "proxy/net/stream.h"

namespace layerd::net {

// Of every interface that is up, port 0; without link-local ones. Loopback addresses are among them.
std::vector<Address> own_addresses();
// The address this machine would speak from to `to` (nothing is sent); nothing where no route leads there.
std::optional<Address> source_towards(const Address& to);

}  // namespace layerd::net
