// Asks upstream whether a digest belongs to a repository: one HEAD for all who wait (design.md §3.5).
// Loop thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "proxy/mirror_settings.h"
#include "proxy/repository_classes.h"
#include "proxy/waiters.h"

namespace layerd::proxy {

struct Confirmed {
  std::optional<ByteCount> size;  // nothing: upstream's HEAD told none
};

class Confirmations {
 public:
  explicit Confirmations(const MirrorParts& parts) : parts_(parts) {}

  // kind: blob or manifest. A blob that upstream confirmed is linked to the repository before the answer;
  // what only a member of the site says holds for this answer alone, and never for what is here already.
  // Errors: as Fetcher::fetch. Dropping the Ticket leaves; the question is still asked for the others.
  Ticket ask(const registry::TargetPtr& target, const Digest& digest, upstream::Kind kind,
             Done<Confirmed> done);

 private:
  struct Question {
    Waiters<Confirmed> waiters;
    Ticket asking;
  };
  void answered(const std::string& name, const cache::RepositoryKey& repository, const Digest& digest,
                upstream::Kind kind, Result<upstream::FetchResponse> answer);
  bool is_here_for_others(const cache::RepositoryKey& repository, const Digest& digest) const;

  MirrorParts parts_;
  std::map<std::string, std::unique_ptr<Question>> questions_;
};

}  // namespace layerd::proxy
