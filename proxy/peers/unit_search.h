// UnitSearch: the ladder (docs/peers.md "The ladder"): who brings the rest of a unit. Loop thread. Dropping
// the Ticket ends it; what the coordinator gave stays until the share gives it up.
#pragma once

#include <memory>

#include "proxy/peers/share.h"

namespace layerd::peers {

// Answers in the end with a member's stream, or with "upstream". Errors: canceled with the diagnosis
// "whole_blob": the blob has turned whole (BlobShare::is_whole) and is asked for as unit 0 from now on.
Ticket start_search(const std::shared_ptr<ShareCore>& share, std::uint32_t unit, ByteRange rest,
                    Done<UnitSource> done);

// One ask to whoever coordinates the unit, dead members and redirects seen to. Used by the search and by the
// watchdog. Errors: upstream_unreachable: nobody coordinates it.
struct Directed {
  AskAnswer answer;
  std::string coordinator;
  // A better rank died lately, or just did not answer: what its book said of this unit the answer lacks.
  bool is_new = false;
};
Ticket ask_coordinator(SiteParts& parts, Ask ask, Done<Directed> done);

}  // namespace layerd::peers
