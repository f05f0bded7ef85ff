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
  // Who asks while this node still looks for somebody who brings it the unit is answered when that is
  // settled: only then is it known whom the asker would be fed by. Errors: denied (not shared), not_found
  // (not here, or it would go in a circle), overloaded (no slot, or nothing was settled within
  // settings.size_wait). The Ticket is dropped before this ends; the Upload may outlive it.
  Ticket open(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done);
  // To whom the unit goes at present.
  std::vector<std::string> children_of(const UnitKey& key) const;
  unsigned running() const;

  // Does this node look for a source of the unit?
  void set_sought(std::function<bool(const UnitKey& key)> is_sought) { is_sought_ = std::move(is_sought); }
  // It does not any more: it has one, or it wants none.
  void settled(const UnitKey& key);

 private:
  struct State;
  class Running;
  struct Opening;
  bool must_wait(const UnitGet& get) const;
  void begin(Opening& opening);
  std::optional<Error> refusal(const std::string& from, const UnitGet& get) const;
  std::optional<Error> circle(const std::string& from, const UnitGet& get) const;

  Loop& loop_;
  Shelf& shelf_;
  const Streams& streams_;
  const Speeds& speeds_;
  const SiteSettings& settings_;
  SiteMetrics& metrics_;
  const SharePolicy& may_share_;
  std::function<bool(const UnitKey& key)> is_sought_;
  std::unordered_map<UnitKey, std::vector<std::weak_ptr<Opening>>, UnitKeyHash> waiting_;
  std::shared_ptr<State> state_;  // shared with the uploads that run
};

}  // namespace layerd::peers
