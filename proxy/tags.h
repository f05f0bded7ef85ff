// Tags: which manifest a tag names now. A record that is fresh answers at once; else one question
// upstream for all who wait (design.md §3.1 step 3).
//
// A check belongs to this object, not to who waits: it goes on in the background after everybody got
// the stale record or left, is bounded in time, and refreshes the record. Loop thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "proxy/manifests.h"
#include "proxy/mirror_settings.h"

namespace layerd::proxy {

struct TagAnswer {
  enum class Origin {
    confirmed,  // upstream said just now that the record holds
    fetched,    // the manifest came from upstream just now
    stale,      // upstream could not be asked in time; `why` says what happened
  };
  Origin origin = Origin::confirmed;
  cache::TagRecord record;
  std::string why;
  ManifestPtr manifest = nullptr;  // its bytes, if they were fetched just now
  bool was_denied = false;         // stale: upstream refuses what it gave to anybody before
};

class Tags {
 public:
  Tags(const MirrorParts& parts, Manifests& manifests);
  ~Tags();

  // The record, if it may be used without asking upstream: checked within fresh_for, or immutable.
  // Its manifest may have been evicted.
  std::optional<cache::TagRecord> fresh(const MirrorSettings& settings, const registry::Target& target,
                                        const std::string& tag);

  // Asks upstream, or joins the question that runs. Errors: not_found (upstream's own, or remembered for at
  // most 5 s); denied, unless the repository was open until now; else what failed when there is no record
  // to fall back on. Dropping the Ticket leaves.
  Ticket find(MirrorSettingsPtr settings, const registry::TargetPtr& target, const std::string& tag,
              Done<TagAnswer> done);

  std::size_t checks_running() const { return checks_.size(); }

 private:
  class Check;
  // A record whose manifest is still here, for answering without upstream.
  std::optional<cache::TagRecord> usable(const cache::RepositoryKey& repository,
                                         const std::string& tag) const;
  Ticket answer_offline(const registry::Target& target, const std::string& tag, Done<TagAnswer> done);
  void keep(const cache::RepositoryKey& repository, const std::string& tag, cache::TagRecord& record);
  void remember_failed(const std::string& registry_name);
  void remember_missing(const std::string& name);
  bool remembered_missing(const std::string& name);
  void ended(const std::string& name, Result<TagAnswer> result);

  MirrorParts parts_;
  Manifests& manifests_;
  std::map<std::string, std::unique_ptr<Check>> checks_;
  std::unordered_map<std::string, TimePoint> checked_;        // by this process; bounded
  std::unordered_map<std::string, TimePoint> missing_until_;  // upstream's 404s; bounded
  std::unordered_set<std::string> failed_last_;               // registries; bounded
};

}  // namespace layerd::proxy
