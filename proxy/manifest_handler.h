// GET and HEAD of one manifest, by tag or by digest. Loop thread.
//
// By digest: linked and here -> answered; here but not known to belong to the repository -> confirmed
// by upstream first; else fetched. By tag: fresh -> answered; else through Tags. The exchange owns the
// handler; a hang-up destroys it, what runs upstream goes on for the others and for the cache.
#pragma once

#include <memory>

#include "proxy/asked.h"
#include "proxy/http/exchange.h"
#include "proxy/mirror_services.h"

namespace layerd::proxy {

// Answers at once (null) or returns what goes on. asked: a manifest, target is set.
std::unique_ptr<http::Handler> serve_manifest(MirrorServices& services, MirrorSettingsPtr settings,
                                              http::Exchange& exchange, AskedPtr asked);

}  // namespace layerd::proxy
