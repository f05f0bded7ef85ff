// DownloadPlaces: where the bytes of one download may come from. Endpoints of the first asker's target
// first, those of later joiners behind them; which of them failed, must wait, or gave wrong bytes. Loop
// thread; no I/O.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/registry/endpoint.h"
#include "runtime/backoff.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::proxy {

struct DownloadSettings;

// The more telling of two errors: what ends a pull for good hides behind what may pass.
const Error& more_telling(const Error& one, const Error& other);

class DownloadPlaces {
 public:
  explicit DownloadPlaces(const DownloadSettings& settings) : settings_(settings) {}

  // Adds the endpoints that are not there yet. False if there was nothing new.
  bool add(const registry::TargetPtr& target);

  // The next target that has not been asked as a whole; nothing when all were.
  registry::TargetPtr next_target();
  bool has_next_target() const { return asked_ < targets_.size(); }

  std::size_t find(const registry::Target& target, std::size_t endpoint) const;
  const registry::TargetPtr& target(std::size_t place) const { return all_[place].target; }
  std::size_t endpoint(std::size_t place) const { return all_[place].endpoint; }
  std::string name(std::size_t place) const;

  struct Choice {
    std::optional<std::size_t> place;  // may be asked now
    std::optional<TimePoint> again;    // else: when to choose again; neither: all are spent
  };
  // The place that served last while it is good for another try, else the others in order. A wait as
  // short as our own back-off is waited out; a long Retry-After sends us on.
  Choice choose(TimePoint now) const;
  // Is there another usable place than this?
  bool has_other(std::size_t place) const;

  // The place has the blob. Did an endpoint of this target say so?
  void confirmed(std::size_t place) { all_[place].confirmed = true; }
  bool confirmed_by(const registry::Target& target) const;
  void gave(std::size_t place, ByteCount bytes);
  // A request to it failed. What cannot pass (404, 401, HTML) spends it at once.
  void failed(std::size_t place, const Error& error, TimePoint now);
  void prefer_another(std::size_t place);  // too slow: the others first
  // `place` gives so many bytes per second, which is little. Answers which one to ask instead: each that a
  // joiner brought once, so that it is measured, then the best of all if that is twice as good.
  std::optional<std::size_t> instead_of(std::size_t place, double rate);
  void prefer(std::size_t place) { order_from_ = place; }
  void ban(std::size_t place) { all_[place].banned = true; }
  // Bans the place that gave most of the bytes of this attempt, and forgets who gave what.
  void ban_main_contributor();
  void forget_contributions();
  // All are spent. Those that could not be connected to may be back soon, as a registry that is started anew:
  // each gets one more try, after the longest pause. False: none of them is of that kind.
  bool wait_out(TimePoint now);
  // The failures so far no longer count (after a success elsewhere or a restart).
  void forgive();
  bool does_ranges(std::size_t place) const { return all_[place].ranges; }
  void no_ranges(std::size_t place) { all_[place].ranges = false; }

  bool has_served() const { return served_.has_value(); }
  std::string last_name() const { return served_ ? name(*served_) : std::string(); }
  void note(const Error& error);
  // The most telling error so far.
  Error worst() const;

 private:
  struct Place {
    registry::TargetPtr target;
    std::size_t endpoint;
    Backoff backoff;
    unsigned failures = 0;
    bool banned = false;
    bool ranges = true;
    bool confirmed = false;
    bool unreachable = false;      // when it was tried last
    bool joined = false;           // brought by a later asker
    std::optional<double> rate{};  // bytes per second, once it was measured
    TimePoint not_before{};
    ByteCount given = 0;  // in this attempt at the blob
    ByteCount fresh = 0;  // since its last failure
  };
  bool usable(const Place& place) const;

  const DownloadSettings& settings_;
  std::vector<registry::TargetPtr> targets_;
  std::size_t asked_ = 0;
  std::vector<Place> all_;
  std::optional<std::size_t> served_;  // the place that gave bytes last
  std::size_t order_from_ = 0;         // where the order of trying begins
  std::optional<Error> worst_;
};

}  // namespace layerd::proxy
