// May this asker have this digest for this repository? One pure decision (design.md §3.5).
//
// Links decide now: a digest is answered, joined or confirmed only for a repository it belongs to.
// The class of the repository and the asker's standing are already part of the question, so that
// the rules for repositories that are not open are added here and nowhere else.
#pragma once

#include <optional>

#include "cache/catalog.h"

namespace layerd::proxy {

struct AccessQuestion {
  bool linked = false;           // a manifest of the repository lists the digest, or upstream confirmed it
  bool can_ask_upstream = true;  // false: offline: true
  cache::RepositoryClass repository_class = cache::RepositoryClass::unknown;
  bool asker_is_runtime = true;  // the connecting socket belongs to one of this node's runtimes
};

enum class Verdict : std::uint8_t {
  answer,   // give what is here, join what is running
  confirm,  // give nothing before upstream has confirmed the digest for this repository
  refuse,   // no link and no upstream to ask
};

Verdict decide(const AccessQuestion& question);

// A link that entitles to the digest as a blob: a digest that upstream served only as a manifest is
// none (registries answer 404 for it under /blobs/).
bool entitles_to_blob(const cache::Link& link);

}  // namespace layerd::proxy
