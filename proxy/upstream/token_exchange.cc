#include "proxy/upstream/token_exchange.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/registry/text.h"
#include "proxy/upstream/answer.h"
#include "proxy/upstream/wire.h"
#include "runtime/json.h"

namespace layerd::upstream {
namespace {

void add_parameter(std::string& query, std::string_view name, std::string_view value) {
  if (value.empty()) return;  // Aliyun answers 400 to an empty scope
  if (!query.empty()) query += '&';
  query += fmt::format("{}={}", name, registry::percent_encode(value));
}

std::string joined(const std::vector<std::string>& scopes) {
  std::string all;
  for (const auto& scope : scopes) all += (all.empty() ? "" : " ") + scope;
  return all;
}

// OAuth2 refuses an identity token that is expired or revoked by a 400 (RFC 6749 §5.2).
bool is_grant_refused(const std::string& text) {
  const auto json = parse_json(text, {registry::kMostTokenBody, 16});
  return json && json->is_object() && json_string(*json, "error") == "invalid_grant";
}

}  // namespace

void TokenExchange::start(Done<registry::TokenResponse> done) {
  done_ = std::move(done);
  limit_ = loop_.after(settings_.token, "token exchange", [this] {
    finish(Error{Errc::upstream_timeout,
                 fmt::format("the token server {} did not answer in time", origin_name(request_.realm))});
  });
  const bool has_identity_token = request_.credentials && !request_.credentials->value.identity_token.empty();
  has_identity_token ? post() : get();
}

http::ClientRequest TokenExchange::request_to(const registry::Url& url) const {
  auto request = client_request("GET", url, *request_.settings, request_.policy, settings_, loop_.now(),
                                Deadline::in(loop_.now(), settings_.token));
  request.head.headers.add("Accept", "application/json");
  request.head.headers.add("Accept-Encoding", "identity");
  return request;
}

bool TokenExchange::has_password() const {
  return request_.credentials && !request_.credentials->value.username.empty() && left_out_.empty();
}

// Identity tokens go by POST alone (protocol.md §3.2). A password beside one is as good.
void TokenExchange::ask_without_post() {
  const auto& given = request_.credentials->value;
  if (given.username.empty() || given.password.empty())
    left_out_ = fmt::format(
        "the identity token of {} was not used: the token server {} answers {} to POST, and takes none; give "
        "layerd a user name and a password",
        given.source.empty() ? "the client" : given.source, origin_name(request_.realm), status_);
  get();
}

// GET with Basic is what most registries understand (protocol.md §3.2).
void TokenExchange::get() {
  auto url = request_.realm;
  add_parameter(url.query, "service", request_.service);
  for (const auto& scope : request_.scopes) add_parameter(url.query, "scope", scope);
  if (has_password()) add_parameter(url.query, "account", request_.credentials->value.username);
  auto request = request_to(url);
  if (has_password())
    request.head.headers.add("Authorization", basic_authorization(request_.credentials->value));
  is_post_ = false;
  send(std::move(request));
}

void TokenExchange::post() {
  std::string form = "grant_type=refresh_token&client_id=layerd";
  add_parameter(form, "refresh_token", request_.credentials->value.identity_token);
  add_parameter(form, "service", request_.service);
  add_parameter(form, "scope", joined(request_.scopes));
  auto request = request_to(request_.realm);
  request.head.method = "POST";
  request.head.headers.add("Content-Type", "application/x-www-form-urlencoded");
  request.body = std::move(form);
  is_post_ = true;
  send(std::move(request));
}

void TokenExchange::send(http::ClientRequest request) {
  pending_ = client_.start(std::move(request),
                           [this](Result<http::ClientResponse> response) { on_head(std::move(response)); });
}

void TokenExchange::on_head(Result<http::ClientResponse> response) {
  if (!response) {
    auto error = std::move(response).error();
    error.message = fmt::format("cannot get a token from {}: {}", origin_name(request_.realm), error.message);
    return finish(std::move(error));
  }
  status_ = response->head.status;
  if (is_post_ && (status_ == 404 || status_ == 405)) return ask_without_post();
  retry_after_ = retry_after(response->head.headers, loop_.wall_now());
  pending_ = read_small_body(std::move(response->body), registry::kMostTokenBody,
                             [this](Result<SmallBody> body) { on_body(std::move(body)); });
}

void TokenExchange::on_body(Result<SmallBody> body) {
  if (status_ != 200) return finish(refused(body ? body->text : std::string()));
  if (!body) return finish(std::move(body).error());
  auto response = registry::parse_token_response(body->text);
  if (!response) {
    auto error = std::move(response).error();
    error.message = fmt::format("{}: {}", origin_name(request_.realm), error.message);
    return finish(std::move(error));
  }
  finish(std::move(*response));
}

Error TokenExchange::refused(const std::string& text) const {
  const bool is_denied =
      status_ == 401 || status_ == 403 || (is_post_ && status_ == 400 && is_grant_refused(text));
  Error error{is_denied ? Errc::denied : Errc::upstream_status, {}};
  error.status = status_;
  error.retry_after = retry_after_;
  error.message = fmt::format("the token server {} answered {}", origin_name(request_.realm),
                              status_and_words(status_, text));
  if (is_denied && !left_out_.empty()) {
    error.message += "; " + left_out_;
    error.diagnosis = "credentials_unusable";
  }
  return error;
}

void TokenExchange::finish(Result<registry::TokenResponse> result) {
  pending_.reset();
  limit_.reset();
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::upstream
