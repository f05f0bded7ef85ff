// Asks upstream whether a digest belongs to a repository: one HEAD for all who wait (design.md §3.5).
// Loop thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "proxy/links.h"
#include "proxy/mirror_settings.h"
#include "proxy/repository_classes.h"
#include "proxy/waiters.h"

namespace layerd::proxy {

struct Confirmed {
  std::optional<ByteCount> size;  // nothing: upstream's HEAD told none
  bool is_told = false;           // only a member of the site says so
};

class Confirmations {
 public:
  explicit Confirmations(const MirrorParts& parts)
      : parts_(parts), links_(parts.catalog, parts.store, parts.downloads) {}

  // kind: blob or manifest. A blob that upstream confirmed is linked to the repository before the answer;
  // what only a member of the site says holds for this answer alone, and as far as a member's word goes
  // (proxy/links).
  // Errors: as Fetcher::fetch. Dropping the Ticket leaves; the question is still asked for the others.
  Ticket ask(const registry::TargetPtr& target, const Digest& digest, upstream::Kind kind,
             Done<Confirmed> done);

 private:
  struct Question {
    Waiters<Confirmed> waiters;
    Ticket asking;
  };
  void answered(const std::string& name, const registry::TargetPtr& target, const Digest& digest,
                upstream::Kind kind, Result<upstream::FetchResponse> answer);

  MirrorParts parts_;
  Links links_;
  std::map<std::string, std::unique_ptr<Question>> questions_;
};

}  // namespace layerd::proxy
