// The admin socket as an HTTP service: AdminApi's replies as JSON. One object for those who may
// change things and one for those who may only look; the connection's owner decides which. Loop thread.
#pragma once

#include "daemon/admin_api.h"
#include "proxy/http/exchange.h"

namespace layerd::daemon {

class AdminService final : public http::Service {
 public:
  AdminService(AdminApi& api, bool may_change) : api_(api), may_change_(may_change) {}
  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override;
  // Changes are logged where they happen; reading the status is not worth a line.
  void ended(const Summary&) override {}

 private:
  AdminApi& api_;
  bool may_change_;
};

}  // namespace layerd::daemon
