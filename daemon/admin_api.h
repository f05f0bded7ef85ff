// The admin socket's requests as JSON (docs/status.md), without HTTP: the daemon serves them on its
// socket, and `layerd cache …` runs them on the store itself when no daemon is there. Loop thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "cache/blob_store.h"
#include "cache/catalog.h"
#include "runtime/json.h"
#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd::daemon {

struct AdminRequest {
  std::string method;                        // "GET" or "POST"
  std::string path;                          // "/v1/cache/rm"
  std::map<std::string, std::string> query;  // decoded
  bool may_change = false;                   // the asker is root or the daemon's own user
};

// "/v1/cache/rm?digest=sha256:…" -> path and query. Errors: invalid_request.
Result<AdminRequest> parse_admin_target(std::string_view method, std::string_view target);

struct AdminReply {
  int status = 200;
  Json body = Json::object();
};

AdminReply admin_error(int status, std::string_view code, std::string_view message);

class AdminApi {
 public:
  AdminApi(Loop& loop, cache::BlobStore& store, cache::Catalog& catalog);

  // Answers exactly once (an error is a reply as well). Dropping the Ticket: the answer is
  // discarded; a removal or verification under way ends unseen.
  Ticket answer(const AdminRequest& request, Callback<void(AdminReply)> done);

  // What answers GET /v1/check?name=N&platform=P; without it that request is 404. Set once.
  using Check =
      Callback<Ticket(const std::string& name, const std::string& platform, Callback<void(AdminReply)> done)>;
  void set_check(Check check) { check_ = std::move(check); }
  // What GET /v1/status answers; without it (no daemon) that request is 404. Set once.
  void set_status(Callback<Json()> status) { status_ = std::move(status); }
  // What GET /v1/peers answers (daemon/peers_json.h); without it that request is 404. Set once.
  void set_peers(Callback<Json()> peers) { peers_ = std::move(peers); }
  // What POST /v1/reload does and answers; without it that request is 404. Set once.
  using Reload = Callback<Ticket(Done<Json> done)>;
  void set_reload(Reload reload) { reload_ = std::move(reload); }

 private:
  AdminReply read(const AdminRequest& request);
  AdminReply blobs(const AdminRequest& request);
  AdminReply tags();
  AdminReply waits();
  Ticket change(const AdminRequest& request, Callback<void(AdminReply)> done);
  Ticket change_blob(const std::string& verb, const Digest& digest, Callback<void(AdminReply)> done);
  Ticket reply_later(AdminReply reply, Callback<void(AdminReply)> done);

  Loop& loop_;
  cache::BlobStore& store_;
  cache::Catalog& catalog_;
  Callback<Json()> status_, peers_;
  Reload reload_;
  Check check_;
};

}  // namespace layerd::daemon
