// GET and HEAD of one blob: from the cache, else by following the one download of that digest while
// it grows. Loop thread.
//
// Cancelling: the exchange owns the handler. A hang-up destroys it; its Ticket takes the callback
// back and the source lets go of the download. There is nothing else to remember.
#pragma once

#include <memory>

#include "proxy/asked.h"
#include "proxy/http/exchange.h"
#include "proxy/mirror_services.h"

namespace layerd::proxy {

// Answers at once (null) or returns what goes on. asked: a blob, digest and target are set.
std::unique_ptr<http::Handler> serve_blob(MirrorServices& services, MirrorSettingsPtr settings,
                                          http::Exchange& exchange, AskedPtr asked);

}  // namespace layerd::proxy
