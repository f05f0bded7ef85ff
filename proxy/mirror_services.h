// What the handlers of one Mirror share. Loop thread; owned by the Mirror.
#pragma once

#include <map>

#include "proxy/access_gate.h"
#include "proxy/confirmations.h"
#include "proxy/manifests.h"
#include "proxy/mirror_settings.h"
#include "proxy/tags.h"

namespace layerd::proxy {

// Blobs whose body was broken off a moment ago. The client reopens them by Range; it must not get
// a second head that no bytes follow (design.md §3.7).
class BrokenBodies {
 public:
  explicit BrokenBodies(const Loop& loop) : loop_(loop) {}
  void remember(const Digest& digest);
  bool recent(const Digest& digest);

 private:
  const Loop& loop_;
  std::map<Digest, TimePoint> broken_at_;  // bounded
};

struct MirrorServices {
  explicit MirrorServices(const MirrorParts& given)
      : parts(given),
        links(given.catalog, given.store, given.downloads),
        small_bodies(given.loop, given.buffers),
        confirmations(given),
        manifests(given, small_bodies, confirmations),
        tags(given, manifests),
        access(given),
        broken(given.loop) {}

  MirrorParts parts;
  Links links;
  SmallBodyBudget small_bodies;
  Confirmations confirmations;
  Manifests manifests;
  Tags tags;
  Access access;
  BrokenBodies broken;
};

// The error for what only an upstream could give while none may be asked.
Error offline_error(std::string_view what);

}  // namespace layerd::proxy
