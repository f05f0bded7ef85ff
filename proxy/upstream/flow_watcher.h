// FlowWatcher: looks on while a flow asks one endpoint, for who explains it (`layerd check`). Loop thread.
// Calls come in the order of what happens; none of them may destroy or restart the flow.
#pragma once

#include <string_view>

#include "proxy/http/message.h"
#include "proxy/registry/endpoint.h"
#include "proxy/upstream/credentials.h"
#include "proxy/upstream/tokens.h"

namespace layerd::upstream {

class FlowWatcher {
 public:
  virtual ~FlowWatcher() = default;
  // The head of an answer, redirects included. is_elsewhere: not the endpoint's own origin.
  virtual void answered(const registry::Url& url, const http::ResponseHead& head, bool is_elsewhere) = 0;
  virtual void looked_for_credentials(const FoundCredentials& found) = 0;
  // note: why credentials that are there do not go along; mostly empty.
  virtual void asks_for_token(const TokenRequest& request, std::string_view note) = 0;
  virtual void got_token(const TokenGrant& grant) = 0;
};

}  // namespace layerd::upstream
