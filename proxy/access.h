// Who may have what? The decisions of design.md §3.5 as pure functions; docs/decisions/0005 says why
// they are these. Nothing else in the tree decides it.
//
// Two questions are asked of every request, in this order: may this asker have anything of this
// repository (rule), and does the digest belong to it (decide)?
#pragma once

#include <cstdint>

#include "cache/catalog.h"

namespace layerd::proxy {

// What the request brought in Authorization, for a repository of class `client`.
enum class Presented : std::uint8_t {
  nothing,    // no Authorization
  unknown,    // a handle that is not ours, has run out, or is for another repository
  anonymous,  // a handle of ours that was given to who had no credentials
  given,      // credentials, in a handle or as they are
};

// What is known of the presented credentials' right to the repository.
enum class Right : std::uint8_t {
  untested,  // upstream has to be asked
  granted,   // upstream said yes not long ago, or long ago and cannot be asked now
  refused,   // upstream said no a moment ago: it is not asked again, since that locks accounts
};

struct AccessQuestion {
  cache::RepositoryClass repository_class = cache::RepositoryClass::unknown;
  bool is_runtime = false;  // the connection belongs to one of this node's runtimes
  Presented presented = Presented::nothing;
  Right right = Right::untested;  // of what was given
  bool is_known_here = false;     // the object, or its tag, could be answered from the cache
  bool is_only_hidden = false;    // class client because of a 404 that may hide something
  bool was_learned = false;       // upstream was asked for the class just now
  bool requires_client = false;   // access.require_client: what the node may have counts for nothing
};

enum class Ruling : std::uint8_t {
  go,              // go on, as the node or as nobody
  go_as_client,    // go on with the client's credentials
  learn,           // find out the repository's class first
  test,            // try the client's credentials first
  challenge,       // 401: say who you are
  refuse_asker,    // 403: not one of this node's runtimes
  refuse_nothing,  // 403: it needs credentials, and none were given
  refuse_given,    // what upstream said to these credentials a moment ago, again
};

Ruling rule(const AccessQuestion& question);

struct LinkQuestion {
  bool linked = false;           // a manifest of the repository lists the digest, or upstream confirmed it
  bool can_ask_upstream = true;  // false: offline: true
};

enum class Verdict : std::uint8_t {
  answer,   // give what is here, join what is running
  confirm,  // give nothing before upstream has confirmed the digest for this repository
  refuse,   // no link and no upstream to ask
};

Verdict decide(const LinkQuestion& question);

// A link that entitles to the digest as a blob: a digest that upstream served only as a manifest is
// none (registries answer 404 for it under /blobs/).
bool entitles_to_blob(const cache::Link& link);

}  // namespace layerd::proxy
