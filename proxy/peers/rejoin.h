// Rejoin: this node fetches a unit upstream, and the site was apart when it began: is there another one who
// does? Loop thread. Dropping the Ticket ends it.
#pragma once

#include <memory>

#include "proxy/peers/share.h"

namespace layerd::peers {

// Asks whoever coordinates the unit now. Who has less of it than the other yields to it (ShareCore::yield),
// or the other is told that we have taken it; where nobody else fetches it the lease is ours.
Ticket start_rejoin(const std::shared_ptr<ShareCore>& share, std::uint32_t unit);

}  // namespace layerd::peers
