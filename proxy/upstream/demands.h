// What each endpoint demands for a repository, as its last 401 said: so that the next request brings
// its token along instead of being refused first. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proxy/http/message.h"
#include "proxy/registry/challenge.h"
#include "proxy/registry/endpoint.h"

namespace layerd::upstream {

struct Demand {
  registry::AuthChoice choice;
  bool takes_basic = false;  // a Basic challenge came as well
};

// Nothing: no WWW-Authenticate that we understand.
std::optional<Demand> read_demand(const http::Headers& headers);

class Demands {
 public:
  // Null: none is known; ask without.
  const Demand* find(const registry::Endpoint& endpoint) const;
  void remember(const registry::Endpoint& endpoint, Demand demand);
  void forget(const registry::Endpoint& endpoint);

 private:
  std::map<std::string, Demand> all_;
};

}  // namespace layerd::upstream
