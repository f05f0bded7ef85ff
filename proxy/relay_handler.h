// Referrers and tag lists: passed on from upstream, bounded, never kept. Loop thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/asked.h"
#include "proxy/http/exchange.h"
#include "proxy/mirror_services.h"

namespace layerd::proxy {

// Answers at once (null) or returns what goes on. asked: referrers or tags, target is set.
std::unique_ptr<http::Handler> serve_relay(MirrorServices& services, MirrorSettingsPtr settings,
                                           http::Exchange& exchange, AskedPtr asked);

// An upstream's Link to its next page as a link of ours: the path the client used, upstream's query,
// our ns. Empty if `link` holds no such thing. Pure.
std::string own_link(std::string_view link, std::string_view client_path, std::string_view ns);

}  // namespace layerd::proxy
