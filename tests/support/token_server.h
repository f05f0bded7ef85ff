// The token service of a registry as docker-registry 2.8 wants it: answers GET /token with a JWT signed by a
// certificate that the registry trusts (x5c in the token's head, ES256).
#pragma once

#include <string>

#include "tests/support/blocking_server.h"
#include "tests/support/private_ca.h"

namespace layerd::test {

class TokenServer {
 public:
  // Gives pull rights on what is asked to this account only; to anybody when `user` is empty.
  TokenServer(Certificate signer, std::string service, std::string user, std::string password);

  std::string realm() const;  // URL for the registry's configuration
  static constexpr const char* kIssuer = "layerd test";
  int requests() const { return requests_; }

 private:
  bool handle(const ServerRequest& request, ServerConnection& connection);
  std::string token_for(const std::string& scope) const;

  Certificate signer_;
  std::string service_;
  std::string authorization_;
  std::atomic<int> requests_{0};
  BlockingServer server_;
};

}  // namespace layerd::test
