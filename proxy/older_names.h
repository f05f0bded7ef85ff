// Earlier versions kept what they knew of "host:443/app" apart from "host/app", which is the same repository
// where the rules make no difference (registry::Target::older_key). Loop thread.
#pragma once

#include <optional>
#include <string>

#include "cache/catalog.h"
#include "proxy/registry/endpoint.h"

namespace layerd::proxy {

// Makes the class of the repository, and what is known of the tag or digest that is asked for, known by the
// name it has now. Of two classes and of two records of a tag the one that upstream confirmed last counts; a
// link is taken over only where the repository is not opened further by it than it was.
void take_over_older_name(cache::Catalog& catalog, const registry::Target& target, const std::string& tag,
                          const std::optional<Digest>& digest);

}  // namespace layerd::proxy
