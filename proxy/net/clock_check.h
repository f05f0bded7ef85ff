// Is it the clock? Nodes without a battery begin in 1970 (protocol.md §6.1); then every certificate is
// not yet valid, and none of them is at fault. Pure.
#pragma once

#include <string>
#include <vector>

#include "proxy/net/peer_certificates.h"

namespace layerd::net {

// The day this program was built (SOURCE_DATE_EPOCH where that is set): no true clock is before it.
WallTime build_day();

// For a certificate that is refused by its dates: why this machine's clock is the likely cause, with
// what to do; empty if it is not. chain: as verified, any order.
std::string clock_fault(WallTime now, const std::vector<CertificateFacts>& chain,
                        WallTime built = build_day());

}  // namespace layerd::net
