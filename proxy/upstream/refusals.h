// Credentials and scopes that were refused lately and are left alone for a while, because asking
// again and again locks accounts and annoys registries. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::upstream {

class Refusals {
 public:
  Refusals(Duration first, Duration most) : first_(first), most_(most) {}

  // The refusal that still holds for `key`.
  std::optional<Error> holding(const std::string& key, TimePoint now) const;
  // Holds for the first wait, and twice as long at each further time.
  void add(const std::string& key, TimePoint now, Error why);
  // Holds until `until`, without growing.
  void add_until(const std::string& key, TimePoint now, TimePoint until, Error why);
  void forget(const std::string& key) { all_.erase(key); }
  std::size_t size() const { return all_.size(); }

 private:
  struct Refusal {
    TimePoint until;
    Duration wait{};
    Error why;
  };
  void make_room(TimePoint now);

  Duration first_, most_;
  std::map<std::string, Refusal> all_;
};

}  // namespace layerd::upstream
