#include "daemon/admin_service.h"

namespace layerd::daemon {
namespace {

void respond_with(http::Exchange& exchange, const AdminReply& reply) {
  http::ResponseHead head;
  head.status = reply.status;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Cache-Control", "no-store");
  exchange.respond(std::move(head), dump_json(reply.body) + "\n");
}

// Waits for the reply; a client that hangs up destroys it.
class AdminHandler final : public http::Handler {
 public:
  AdminHandler(AdminApi& api, const AdminRequest& request, http::Exchange& exchange)
      : pending_(api.answer(request, [&exchange](AdminReply reply) { respond_with(exchange, reply); })) {}

 private:
  Ticket pending_;
};

}  // namespace

std::unique_ptr<http::Handler> AdminService::serve(http::Exchange& exchange) {
  auto request = parse_admin_target(exchange.request().method, exchange.request().target);
  if (!request) {
    respond_with(exchange, admin_error(400, request.error().diagnosis_code(), request.error().message));
    return nullptr;
  }
  request->may_change = may_change_;
  return std::make_unique<AdminHandler>(api_, *request, exchange);
}

}  // namespace layerd::daemon
