// What is done about a blob whose digest was wrong in the end: the coordinators are asked once more what its
// units should have been. Loop thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "proxy/peers/site_parts.h"

namespace layerd::peers {

// Who made wrong units wrong? Each came along a chain of members, any of which may have done it. Who is in
// the most chains did; of several, who was suspected most often before. What it explains is taken out, and so
// on.
struct Blame {
  std::set<std::string> guilty;
  std::set<std::string> suspects;  // one of each chain is guilty, the others passed on what they were given
};
Blame blamed(std::vector<Received> wrong, const Acquaintances& acquaintances);

// Nothing is taken from the guilty for an hour, from the suspects for some minutes: who lies again is then
// the one whom both chains have.
void avoid_blamed(SiteParts& parts, const Blame& blame);

// Asks for the claims on `received`, bans who is to blame for those that differ, and takes itself out of
// parts.rechecks. Where none differs parts.suspects says so: any of the chains may hold the liar. Ends within
// two seconds or so. Held by parts.rechecks.
Ticket start_recheck(SiteParts& parts, const BlobName& blob, std::vector<Received> received);

// Answers when the recheck of this blob that runs has ended.
Ticket wait_for_recheck(SiteParts& parts, const Digest& digest, Done<Ok> done);

}  // namespace layerd::peers
