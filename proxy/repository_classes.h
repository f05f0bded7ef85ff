// The class of each repository: does upstream serve it to anybody, to this node, or to those alone who
// bring credentials of their own (design.md §3.5)? Kept in the catalog as far as something of the
// repository may be cached; learned from every answer of an upstream, and asked anew when it is old.
// Loop thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "proxy/mirror_settings.h"
#include "proxy/waiters.h"

namespace layerd::proxy {

// What upstream is asked for to learn a class.
struct AskedObject {
  upstream::Kind kind = upstream::Kind::manifest;
  std::string reference;
  std::string query = {};
};

// Keeps what an answer of upstream to `target` tells: open when it wanted no credentials, else whose
// they were. An open repository stays so: credentials that go along prove nothing.
void keep_class(cache::Catalog& catalog, const Loop& loop, const registry::Target& target,
                bool authenticated);

// Whole seconds of wall time since 1970, as records keep them.
std::int64_t unix_seconds(WallTime time);

// The same target, asked as nobody.
registry::TargetPtr as_nobody(const registry::Target& target);
// And for somebody who must not learn what is known of it.
registry::TargetPtr as_stranger(const registry::Target& target);

// Sees every answer of upstream on its way to who asked. The others outlive it.
class LearningFetcher final : public upstream::Fetcher {
 public:
  LearningFetcher(upstream::Fetcher& fetcher, cache::Catalog& catalog, const Loop& loop)
      : fetcher_(fetcher), catalog_(catalog), loop_(loop) {}
  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override;

 private:
  upstream::Fetcher& fetcher_;
  cache::Catalog& catalog_;
  const Loop& loop_;
};

class RepositoryClasses {
 public:
  explicit RepositoryClasses(const MirrorParts& parts);
  ~RepositoryClasses();

  struct Known {
    cache::RepositoryClass repository_class = cache::RepositoryClass::unknown;
    bool is_only_hidden = false;  // class client from a 404 alone
    bool is_old = false;          // kept, and older than settings.recheck
  };
  Known of(const AccessSettings& settings, const cache::RepositoryKey& repository) const;

  // Kept from before a reload.
  bool is_doubtful(const cache::RepositoryKey& repository) const;

  // What upstream said when it last refused the node; null if that is not remembered.
  const Error* refusal_of(const cache::RepositoryKey& repository) const;

  // Upstream refused the node (denied, or a 404 that may hide something) for a repository whose class is
  // not known: it is `client` for now. Nothing of it is cached, so it is only remembered.
  void refused(const cache::RepositoryKey& repository, const Error& error);

  // Asks upstream as nobody and then as the node, or, with `for_stranger`, as a stranger alone. One question
  // for all who wait.
  // Answers what it is; `unknown` never. Errors: as Fetcher::fetch, when the answer tells no class.
  // Dropping the Ticket leaves.
  Ticket learn(const registry::TargetPtr& target, const AskedObject& object, bool for_stranger,
               Done<cache::RepositoryClass> done);

  // The repository is in use: asks anew in the background when the class is older than `recheck`, or
  // at once when something contradicts it.
  void used(const AccessSettings& settings, const registry::TargetPtr& target, const AskedObject& object,
            bool now = false);
  // A reload: notes are dropped, and what was refused to the node is asked anew at its next use.
  void doubt_all();

 private:
  class Question;
  struct Note {
    TimePoint until;
    Error why;
    bool is_only_hidden() const { return why.code != Errc::denied; }
  };
  void ended(const std::string& name, Result<cache::RepositoryClass> result);
  void keep(const cache::RepositoryKey& repository, cache::RepositoryClass found);
  void note_refused_to_stranger(const std::string& name, const Error& error);
  bool is_old(const AccessSettings& settings, const cache::RepositoryRecord& kept) const;

  MirrorParts parts_;
  std::map<std::string, std::unique_ptr<Question>> questions_;
  std::unordered_map<std::string, Note> notes_;                // bounded
  std::unordered_map<std::string, Note> refused_to_stranger_;  // by question; bounded
  std::unordered_map<std::string, TimePoint> asked_at_;        // last rechecks; bounded
  std::int64_t doubtful_until_ = 0;  // unix seconds: refusals kept before are asked anew
};

}  // namespace layerd::proxy
