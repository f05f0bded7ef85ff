// Who may talk to a loopback listener, and when a request has gone in a circle (design.md §3.6). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http/message.h"
#include "proxy/net/stream.h"

namespace layerd::proxy {

bool is_loopback(std::string_view numeric_host);

struct Refusal {
  int status = 0;        // 403 or 421
  std::string sentence;  // cause and remedy
};

// A loopback listener takes loopback peers only, and Host (or the authority of an absolute-form target)
// must be one of our names: a web page cannot reach us through a name of its own. Other listeners
// take anybody. authority: empty unless the target was in absolute form.
std::optional<Refusal> check_host(const http::RequestHead& request, std::string_view authority,
                                  const net::Address& local, const net::Address& peer,
                                  const std::vector<std::string>& own_names);

// Did this request pass through us already? instance: our pseudonym; empty: never.
bool has_passed_us(const http::Headers& headers, std::string_view instance);

}  // namespace layerd::proxy
