#include "proxy/upstream/authorization.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/upstream/wire.h"

namespace layerd::upstream {
namespace {

bool has_password(const NodeCredentialsPtr& credentials) {
  return credentials && !(credentials->value.username.empty() && credentials->value.password.empty());
}

}  // namespace

std::string basic_key(const registry::Endpoint& endpoint, const NodeCredentials& credentials) {
  return origin_name(endpoint.base) + "\n" + credentials.identity;
}

std::string source_of(const registry::Endpoint& endpoint, const NodeCredentials& credentials) {
  return credentials.value.source.empty() ? endpoint.base.authority() : credentials.value.source;
}

void explain_none(Error& error, const registry::Endpoint& endpoint, const Authorization& authorization) {
  error.message += fmt::format("; no credentials are configured for {}", endpoint.base.authority());
  if (!authorization.near_misses.empty()) error.message += ": " + authorization.near_misses;
  error.diagnosis = authorization.diagnosis.empty() ? "credentials_missing" : authorization.diagnosis;
}

void AuthorizationFlow::start(Done<Authorization> done) {
  done_ = std::move(done);
  find_credentials();
}

void AuthorizationFlow::find_credentials() {
  outcome_ = {};
  if (as_.who != registry::AskAs::Who::node) {
    FoundCredentials found;
    if (as_.who == registry::AskAs::Who::client) found.credentials = make_credentials(as_.credentials);
    pending_ =
        parts_.loop.post([this, found = std::move(found)]() mutable { on_credentials(std::move(found)); });
    return;
  }
  pending_ = parts_.credentials.find(
      endpoint_, [this](Result<FoundCredentials> found) { on_credentials(std::move(found)); });
}

void AuthorizationFlow::on_credentials(Result<FoundCredentials> found) {
  if (!found) return finish(std::move(found).error());
  if (parts_.watcher) parts_.watcher->looked_for_credentials(*found);
  credentials_ = std::move(found->credentials);
  outcome_.near_misses = found->near_misses();
  outcome_.diagnosis = found->diagnosis();
  outcome_.helper = std::move(found->helper);
  outcome_.is_fresh = found->is_fresh;
  if (demand_.choice.scheme == registry::AuthChoice::Scheme::basic) return use_basic();
  if (credentials_ && !credentials_->value.registry_token.empty()) return use_registry_token();
  ask_token_server();
}

void AuthorizationFlow::use_registry_token() {
  if (auto refused = parts_.basic_refusals.holding(basic_key(endpoint_, *credentials_), parts_.loop.now()))
    return finish(std::move(*refused));
  outcome_.header = "Bearer " + credentials_->value.registry_token;
  outcome_.credentials = credentials_;
  finish(std::move(outcome_));
}

void AuthorizationFlow::use_basic() {
  if (!has_password(credentials_)) return finish(credentials_ ? only_a_token() : none_configured());
  if (auto refused = parts_.basic_refusals.holding(basic_key(endpoint_, *credentials_), parts_.loop.now()))
    return finish(std::move(*refused));
  outcome_.header = basic_authorization(credentials_->value);
  outcome_.credentials = credentials_;
  outcome_.is_basic = true;
  finish(std::move(outcome_));
}

void AuthorizationFlow::ask_token_server() {
  auto realm = judge_realm(endpoint_, demand_.choice.realm, rules_);
  if (!realm) {
    if (demand_.takes_basic && has_password(credentials_)) return use_basic();
    return finish(std::move(realm).error());
  }
  TokenRequest request;
  request.realm = realm->url;
  request.policy = realm->policy;
  instead_of_ = realm->instead_of;
  // A token server beside the registry most often shows a certificate of the same authority. And what is
  // configured for a host is for those who were configured as well.
  const bool is_beside =
      realm->url.host == endpoint_.base.host && !rules_.is_configured(realm->url.host, realm->url.port);
  request.settings = is_beside || !endpoint_.configured
                         ? endpoint_.settings
                         : rules_.settings_for(realm->url.host, realm->url.port);
  if (demand_.choice.service != "null") request.service = demand_.choice.service;
  request.scopes = registry::scopes_for(demand_.choice.scope, endpoint_.repository);
  // What a client gave is not sent over a line that others read, whatever the configuration allows.
  const bool may_send =
      realm->takes_credentials && (as_.who != registry::AskAs::Who::client || realm->url.scheme == "https");
  if (may_send) request.credentials = credentials_;
  if (credentials_ && !may_send)
    outcome_.note = fmt::format(
        "the credentials for {} were not sent to its token server {}, which has nothing to do with it by its "
        "name; add configs: {{\"{}\": {{}}}} if it is right",
        endpoint_.base.authority(), realm->url.authority(), realm->url.authority());
  request.for_stranger = as_.who == registry::AskAs::Who::stranger;
  outcome_.token_request = request;
  if (parts_.watcher) parts_.watcher->asks_for_token(request, outcome_.note);
  pending_ = parts_.tokens.get(request, [this](Result<TokenGrant> grant) { on_token(std::move(grant)); });
}

void AuthorizationFlow::on_token(Result<TokenGrant> grant) {
  if (!grant) {
    auto error = std::move(grant).error();
    // What a helper gave a while ago may have run out meanwhile.
    const bool is_stale = error.code == Errc::denied && outcome_.helper && !outcome_.is_fresh;
    if (is_stale && std::exchange(may_ask_helper_again_, false)) {
      parts_.credentials.forget(*outcome_.helper);
      return find_credentials();
    }
    // Where the realm is wrong, registries take Basic as well (Nexus).
    if (!instead_of_.empty() && has_password(credentials_)) {
      outcome_.token_request.reset();
      return use_basic();
    }
    if (error.code == Errc::denied) explain(error);
    if (!instead_of_.empty()) error.message += "; it was asked in place of another: " + instead_of_;
    return finish(std::move(error));
  }
  if (parts_.watcher) parts_.watcher->got_token(*grant);
  outcome_.header = "Bearer " + grant->token;
  outcome_.token = std::move(grant->token);
  outcome_.is_fresh = grant->is_fresh;
  outcome_.credentials = outcome_.token_request->credentials;
  if (!grant->left_out.empty()) {
    outcome_.credentials = nullptr;
    outcome_.note = std::move(grant->left_out);
    outcome_.note_diagnosis = "credentials_unusable";
  }
  finish(std::move(outcome_));
}

// What the token server's word means for who configures us.
void AuthorizationFlow::explain(Error& error) const {
  if (!error.diagnosis.empty()) return;  // the exchange has explained it
  if (!outcome_.note.empty()) {
    error.message += "; " + outcome_.note;
    error.diagnosis = "credentials_withheld";
  } else if (!credentials_) {
    explain_none(error, endpoint_, outcome_);
  } else {
    // A token server that knows the account may refuse the scope alone (GHCR, Docker Hub's words).
    const bool is_about_scope =
        error.status == 403 && error.message.find("access to the resource") != std::string::npos;
    error.message += fmt::format(" to the credentials of {}", source_of(endpoint_, *credentials_));
    error.diagnosis = is_about_scope ? "repository_denied" : "credentials_refused";
  }
}

Error AuthorizationFlow::none_configured() const {
  Error error{Errc::denied,
              fmt::format("{} wants a user name and a password{}{}", origin_name(endpoint_.base),
                          endpoint_.repository.empty() ? "" : " for ", endpoint_.repository)};
  error.status = 401;
  explain_none(error, endpoint_, outcome_);
  return error;
}

Error AuthorizationFlow::only_a_token() const {
  Error error{Errc::denied,
              fmt::format("{} wants a user name and a password, and the credentials of {} are a token, which "
                          "cannot be sent so",
                          origin_name(endpoint_.base), source_of(endpoint_, *credentials_))};
  error.status = 401;
  error.diagnosis = "credentials_unusable";
  return error;
}

void AuthorizationFlow::finish(Result<Authorization> result) {
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::upstream
