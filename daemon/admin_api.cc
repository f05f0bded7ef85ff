#include "daemon/admin_api.h"

#include <fmt/core.h>

#include "proxy/registry/text.h"

namespace layerd::daemon {
namespace {

constexpr std::size_t kMostRows = 1000;

int status_for(Errc code) {
  switch (code) {
    case Errc::invalid_request:
      return 400;
    case Errc::denied:
      return 403;
    case Errc::not_found:
      return 404;
    case Errc::overloaded:
      return 409;
    default:
      return 500;
  }
}

AdminReply reply_of(const Error& error) {
  return admin_error(status_for(error.code), error.diagnosis_code(), error.message);
}

std::string text_of(const AdminRequest& request, const char* name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? std::string() : found->second;
}

}  // namespace

Result<AdminRequest> parse_admin_target(std::string_view method, std::string_view target) {
  AdminRequest request;
  request.method = method;
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark == std::string_view::npos) return request;
  for (auto part : registry::split(target.substr(mark + 1), '&')) {
    const std::size_t equals = part.find('=');
    auto name = registry::percent_decode(part.substr(0, equals));
    auto value = registry::percent_decode(equals == std::string_view::npos ? "" : part.substr(equals + 1));
    if (!name || !value)
      return {Errc::invalid_request, "a '%' in the query is not followed by two hex digits"};
    request.query[*name] = *value;
  }
  return request;
}

AdminReply admin_error(int status, std::string_view code, std::string_view message) {
  return {status, Json{{"error", {{"code", code}, {"message", message}}}}};
}

AdminApi::AdminApi(Loop& loop, cache::BlobStore& store, cache::Catalog& catalog)
    : loop_(loop), store_(store), catalog_(catalog) {}

Ticket AdminApi::answer(const AdminRequest& request, Callback<void(AdminReply)> done) {
  if (request.method == "GET" && request.path == "/v1/check" && check_)
    return check_(text_of(request, "name"), text_of(request, "platform"), std::move(done));
  if (request.method == "GET" || request.method == "HEAD") return reply_later(read(request), std::move(done));
  if (request.method != "POST")
    return reply_later(admin_error(405, "unsupported", "GET and POST are understood here"), std::move(done));
  if (!request.may_change)
    return reply_later(admin_error(403, "denied", "changes are for root and for the daemon's own user"),
                       std::move(done));
  return change(request, std::move(done));
}

Ticket AdminApi::reply_later(AdminReply reply, Callback<void(AdminReply)> done) {
  return loop_.post([reply = std::move(reply), done = std::move(done)]() mutable { done(std::move(reply)); });
}

AdminReply AdminApi::read(const AdminRequest& request) {
  if (request.path == "/v1/status" && status_) return {200, status_()};
  if (request.path == "/v1/peers" && peers_) return {200, peers_()};
  if (request.path == "/v1/waits") return waits();
  if (request.path == "/v1/cache/blobs") return blobs(request);
  if (request.path == "/v1/cache/tags") return tags();
  return admin_error(404, "not_found", "no such request; docs/status.md lists them");
}

AdminReply AdminApi::blobs(const AdminRequest& request) {
  std::optional<Digest> after;
  if (const std::string text = text_of(request, "after"); !text.empty()) {
    auto digest = Digest::parse(text);
    if (!digest) return reply_of(digest.error());
    after = *digest;
  }
  const auto most = registry::parse_digits(text_of(request, "most")).value_or(kMostRows);
  Json rows = Json::array();
  for (const auto& row : store_.list(after, std::min<std::uint64_t>(most, kMostRows)))
    rows.push_back({{"digest", row.digest.str()},
                    {"bytes", row.size},
                    {"last_used", row.last_used},
                    {"pinned", row.pinned},
                    {"in_use", row.in_use}});
  return {200, Json{{"blobs", std::move(rows)}}};
}

AdminReply AdminApi::tags() {
  Json rows = Json::array();
  catalog_.each_tag(
      [&](const cache::RepositoryKey& repository, std::string_view tag, const cache::TagRecord& record) {
        rows.push_back({{"repository", repository},
                        {"tag", tag},
                        {"digest", record.digest.str()},
                        {"media_type", record.media_type},
                        {"bytes", record.size},
                        {"checked_at", record.checked_at},
                        {"cached", store_.known_size(record.digest).has_value()}});
        return true;
      });
  return {200, Json{{"tags", std::move(rows)}}};
}

AdminReply AdminApi::waits() {
  Json rows = Json::array();
  for (const auto& row : loop_.ledger().rows()) {
    const double seconds = std::chrono::duration<double>(loop_.now() - row.since).count();
    rows.push_back({{"what", row.what}, {"detail", row.detail}, {"seconds", seconds}});
  }
  return {200, std::move(rows)};
}

Ticket AdminApi::change(const AdminRequest& request, Callback<void(AdminReply)> done) {
  if (request.path == "/v1/reload" && reload_)
    return reload_([done = std::move(done)](Result<Json> said) mutable {
      done(said ? AdminReply{200, std::move(*said)} : reply_of(said.error()));
    });
  if (request.path == "/v1/cache/gc")
    return store_.gc([done = std::move(done)](Result<ByteCount> freed) mutable {
      done(freed ? AdminReply{200, Json{{"freed_bytes", *freed}}} : reply_of(freed.error()));
    });
  const std::string tag = text_of(request, "tag"), repository = text_of(request, "repository");
  if (request.path == "/v1/cache/rm" && !tag.empty()) {
    if (!catalog_.tag(repository, tag))
      return reply_later(admin_error(404, "not_found", fmt::format("no tag {}:{} is kept", repository, tag)),
                         std::move(done));
    catalog_.remove_tag(repository, tag);
    return reply_later({200, Json{{"removed", true}}}, std::move(done));
  }
  for (const char* verb : {"rm", "pin", "unpin", "verify"}) {
    if (request.path != std::string("/v1/cache/") + verb) continue;
    auto digest = Digest::parse(text_of(request, "digest"));
    if (!digest) return reply_later(reply_of(digest.error()), std::move(done));
    return change_blob(verb, *digest, std::move(done));
  }
  return reply_later(admin_error(404, "not_found", "no such request; docs/status.md lists them"),
                     std::move(done));
}

Ticket AdminApi::change_blob(const std::string& verb, const Digest& digest, Callback<void(AdminReply)> done) {
  if (verb == "verify")
    return store_.verify(digest, [digest, done = std::move(done)](Result<bool> good) mutable {
      done(good ? AdminReply{200, Json{{"digest", digest.str()}, {"ok", *good}}} : reply_of(good.error()));
    });
  Json body = verb == "rm" ? Json{{"removed", true}} : Json{{"pinned", verb == "pin"}};
  auto finish = [body = std::move(body), done = std::move(done)](Result<Ok> result) mutable {
    done(result ? AdminReply{200, std::move(body)} : reply_of(result.error()));
  };
  if (verb == "rm") return store_.remove(digest, std::move(finish));
  return store_.pin(digest, verb == "pin", std::move(finish));
}

}  // namespace layerd::daemon
