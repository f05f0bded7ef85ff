// Uploads: what this node gives to members: slots, rights, loops, counts. The bytes are moved by whoever
// holds the Upload. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/peers/sharing.h"
#include "proxy/peers/streams.h"
#include "proxy/peers/wire.h"

namespace layerd::peers {

// May anything of this repository be given to members, or taken from them?
using SharePolicy = std::function<bool(const std::string& registry, const std::string& repository)>;

class Uploads {
 public:
  Uploads(Loop& loop, Shelf& shelf, const Streams& streams, Acquaintances& acquaintances,
          const Speeds& speeds, const SiteSettings& settings, SiteMetrics& metrics,
          const SharePolicy& may_share);
  ~Uploads();

  ProbeAnswer probe(const Probe& probe) const;
  // Errors: denied (not shared), not_found (not here, or it would go in a circle), overloaded (no slot).
  Ticket open(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done);
  // To whom the unit goes at present.
  std::vector<std::string> children_of(const UnitKey& key) const;
  unsigned running() const;

 private:
  struct State;
  class Running;
  std::optional<Error> refusal(const std::string& from, const UnitGet& get) const;

  Loop& loop_;
  Shelf& shelf_;
  const Streams& streams_;
  const Speeds& speeds_;
  const SiteSettings& settings_;
  SiteMetrics& metrics_;
  const SharePolicy& may_share_;
  std::shared_ptr<State> state_;  // shared with the uploads that run
};

}  // namespace layerd::peers
