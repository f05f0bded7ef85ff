// GET /v1/peers: who shares and how they are doing (docs/status.md). Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "daemon/settings.h"
#include "proxy/peers/members.h"
#include "runtime/json.h"

namespace layerd::daemon {

// What is known of one member since the start.
struct PeerFigures {
  // "alive", "dead", "avoided" (it sent wrong bytes), "refused" (no common secret, certificate or site),
  // "unknown" (never asked)
  std::string state = "unknown";
  std::optional<double> latency_ms;  // of the last answer
  std::uint64_t sent_bytes = 0, received_bytes = 0;
  std::uint64_t faults = 0;       // connections, answers and bodies that failed
  std::uint64_t wrong_units = 0;  // that it sent
  std::string last_error;         // empty: none
};
// Of a member by its id. Empty: nothing is known of anybody.
using FiguresOf = std::function<PeerFigures(const std::string& id)>;

// unlisted: ids of those that gave, took or sent wrong bytes and that no list names: shown behind the others,
// without sources.
// listening: where the peer listener really is; empty: nowhere. more_complaints: of others than Members (a
// secret that cannot be used).
Json peers_json(const PeersSettings& settings, const peers::Members& members, const std::string& listening,
                const FiguresOf& figures, const std::vector<std::string>& more_complaints = {},
                const std::vector<std::string>& unlisted = {});

}  // namespace layerd::daemon
