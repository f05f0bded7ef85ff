// Handles: what a client gets at our token endpoint and brings with each request. A handle holds the
// client's own credentials sealed under this node's key, for some repositories and for a while; we keep
// nothing of it, so a restart costs nothing. Loop thread; no I/O.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/catalog.h"
#include "proxy/access.h"
#include "proxy/http/message.h"
#include "proxy/registry/endpoint.h"
#include "runtime/clock.h"
#include "runtime/sealing.h"

namespace layerd::proxy {

inline constexpr std::chrono::seconds kHandleLife{3600};
// Longer credentials are not taken: the handle has to fit into a request's head.
inline constexpr std::size_t kMostCredentialBytes = 8u << 10;
inline constexpr std::size_t kMostHandleRepositories = 16;

struct Presentation {
  Presented presented = Presented::nothing;
  registry::Credentials credentials = {};  // with Presented::given
};

class Handles {
 public:
  // The key outlives this.
  explicit Handles(const SealingKey& key) : key_(key) {}

  // credentials: empty for who gave none. repositories: what it is good for, besides the ping.
  std::string make(const registry::Credentials& credentials,
                   const std::vector<cache::RepositoryKey>& repositories, WallTime now) const;
  // What Authorization says for this repository; for the ping (an empty key) any living handle will do.
  Presentation read(const http::Headers& headers, const cache::RepositoryKey& repository, WallTime now) const;
  // As whom upstream is asked with these credentials; the name is a keyed hash.
  registry::AskAs as_client(registry::Credentials credentials) const;

 private:
  const SealingKey& key_;
};

// The credentials of "Basic …"; a user name that is empty means that the password is an identity token.
// Empty: it is something else, makes no sense, or is too long.
registry::Credentials read_basic(std::string_view authorization);

}  // namespace layerd::proxy
