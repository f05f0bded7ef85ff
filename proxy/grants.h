// Grants: which client's credentials are good for which repository, as upstream said (design.md §3.5
// items 6 and 7). A grant is kept under a keyed hash of both; the credentials never are. What upstream
// refused is left alone for a while, since asking again and again locks accounts. Loop thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "proxy/access.h"
#include "proxy/repository_classes.h"
#include "proxy/upstream/refusals.h"
#include "proxy/waiters.h"

namespace layerd::proxy {

class Grants {
 public:
  explicit Grants(const MirrorParts& parts);
  ~Grants();

  // How old a grant may become; older ones are removed when they are met, and by and by in the background.
  void keep_for(Duration age);

  struct Standing {
    Right right = Right::untested;
    std::optional<Error> why = {};  // with Right::refused: what upstream said
  };
  // `client`: a target asked as a client. No disk access that waits.
  Standing standing(const AccessSettings& settings, const registry::Target& client,
                    const AskedObject& object);

  // One HEAD upstream (of a list, which has none everywhere: a GET) for all who wait. Different passwords of
  // one account that were not granted before are tried at the same time only as many as may be wrong; further
  // ones wait, 8 s at most, then upstream_timeout. Ok: granted, or granted earlier and upstream does not
  // answer now (settings.offline_grace). Errors: as Fetcher::fetch; denied and not_found are remembered.
  // Dropping the Ticket leaves.
  Ticket test(const AccessSettings& settings, const registry::TargetPtr& client, const AskedObject& object,
              Done<Ok> done);

  // Upstream said so to a request that went on with a grant.
  void refuse(const registry::Target& client, const Error& error);
  void doubt(const registry::Target& client);

 private:
  class Test;
  struct Grant {
    std::int64_t tested_at = 0;  // unix seconds
    AskedObject proof;           // that upstream gave to these credentials
  };
  std::string row_of(const registry::Target& client) const;
  std::string account_of(const registry::Target& client) const;
  void take_over_older_row(const registry::Target& client, const std::string& row);
  static std::optional<Grant> read_grant(std::string_view value);
  bool is_too_old(const Grant& grant) const;
  std::optional<Grant> kept(const std::string& row);
  bool has_grace(const AccessSettings& settings, const std::string& row);
  void sweep_after(Duration wait);
  void sweep();
  void grant(const registry::Target& client, const AskedObject& proof);
  void miss(const registry::Target& client, const AskedObject& object, const Error& error);
  void note_wrong_password(const registry::Target& client, const Error& error);
  bool may_be_tried(const registry::Target& client);
  void begin_those_who_wait();
  void ended(const std::string& name, Result<Ok> result);

  MirrorParts parts_;
  std::map<std::string, std::unique_ptr<Test>> tests_;
  std::unordered_map<std::string, TimePoint> tested_;        // by this process, by row; bounded
  std::unordered_map<std::string, TimePoint> silent_until_;  // upstream did not answer; bounded
  // When each wrong password (by its name) of an account was last refused; bounded.
  std::unordered_map<std::string, std::map<std::string, TimePoint>> wrong_passwords_;
  upstream::Refusals refusals_;  // by row, row and object, or account
  Duration keep_for_ = std::chrono::hours(72);
  std::string sweep_from_;  // the row with which the next look for old grants begins
  Ticket sweep_;
  Ticket next_tests_;  // those that wait for others of their account are looked at
};

}  // namespace layerd::proxy
