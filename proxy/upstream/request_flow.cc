#include "proxy/upstream/request_flow.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/registry/range.h"
#include "proxy/upstream/answer.h"
#include "proxy/upstream/wire.h"

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostErrorBytes = 64u << 10;
// A token of the cache that ran out, a fresh one, one with another scope.
constexpr std::size_t kMostAuthorizations = 3;
constexpr std::chrono::seconds kLongestRateLimit{300};
constexpr std::chrono::seconds kRestWhenUsedUp{60};

// The body of an answer to HEAD.
class NoBody final : public http::BodyReader {
 public:
  explicit NoBody(Loop& loop) : loop_(loop) {}
  Ticket read(std::size_t, Done<Bytes> done) override {
    return loop_.post([done = std::move(done)]() mutable { done(Bytes()); });
  }
  std::optional<ByteCount> length() const override { return 0; }

 private:
  Loop& loop_;
};

bool is_silence(const Error& error) {
  return error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
}

bool is_same_demand(const Demand& a, const Demand& b) {
  return a.choice.scheme == b.choice.scheme && a.choice.realm == b.choice.realm &&
         a.choice.service == b.choice.service && a.choice.scope == b.choice.scope;
}

}  // namespace

RequestFlow::RequestFlow(FlowParts& parts, const FetchRequest& request, const registry::Rules& rules,
                         std::size_t endpoint, Deadline deadline)
    : parts_(parts),
      request_(request),
      rules_(rules),
      endpoint_(request.target->endpoints[endpoint]),
      endpoint_index_(endpoint),
      deadline_(deadline) {}

void RequestFlow::start(Done<FetchResponse> done) {
  done_ = std::move(done);
  attempt_ = parts_.health.begin(origin_name(endpoint_.base));
  // To know what the endpoint demands for a repository is to know the repository.
  const bool is_stranger = request_.target->as.who == registry::AskAs::Who::stranger;
  const auto* demand = is_stranger ? nullptr : parts_.demands.find(endpoint_);
  demand ? authorize(*demand) : send();
}

// Registries count each account, those without one by their address, and manifests and blobs, GET and HEAD
// apart: a limit on one says nothing about the others. The request that only brings the challenge is
// nobody's.
std::string RequestFlow::asked_as() const {
  if (!authorization_ || authorization_->header.empty()) return {};
  return authorization_->credentials ? authorization_->credentials->identity : "anonymous";
}

std::string RequestFlow::rate_key() const {
  return fmt::format("{}\n{}{}\n{}", origin_name(endpoint_.base), static_cast<int>(request_.kind),
                     request_.head_only ? "h" : "g", asked_as());
}

void RequestFlow::authorize(Demand demand) {
  ++authorizations_;
  demand_ = std::move(demand);
  authorizing_ = std::make_unique<AuthorizationFlow>(parts_, endpoint_, rules_, request_.target->as, demand_);
  authorizing_->start(
      [this](Result<Authorization> authorization) { on_authorization(std::move(authorization)); });
}

void RequestFlow::on_authorization(Result<Authorization> authorization) {
  if (request_.progress) request_.progress();
  auto ended = std::move(authorizing_);
  if (!authorization) {
    // The next request finds out whether the endpoint still demands it; not after a refusal, which
    // is to spare the registry.
    if (authorization.error().code != Errc::denied) parts_.demands.forget(endpoint_);
    return finish(std::move(authorization).error());
  }
  authorization_ = std::move(*authorization);
  send();
}

void RequestFlow::send() {
  if (auto limited = parts_.rate_limits.holding(rate_key(), parts_.loop.now())) {
    pending_ = parts_.loop.post([this, error = std::move(*limited)] { finish(error); });
    return;
  }
  asking_ =
      std::make_unique<RedirectFlow>(parts_, endpoint_, rules_,
                                     RedirectRequest{request_.head_only && !is_head_by_get_ ? "HEAD" : "GET",
                                                     object_url(endpoint_, request_), headers_to_send(),
                                                     authorization_ ? authorization_->header : std::string(),
                                                     deadline_, request_.progress, request_.is_spare});
  asking_->start([this](Result<Landed> landed) { on_landed(std::move(landed)); });
}

http::Headers RequestFlow::headers_to_send() const {
  auto headers = object_headers(request_);
  if (is_head_by_get_) headers.add("Range", "bytes=0-0");
  return headers;
}

void RequestFlow::on_landed(Result<Landed> landed) {
  note_endpoint_answer(landed);
  const auto ended = std::move(asking_);
  if (!landed) return finish(std::move(landed).error());
  is_elsewhere_ = landed->is_elsewhere;
  head_ = landed->response.head;
  place_ = ended->place();
  if (!is_elsewhere_) parts_.pull_limits.note(origin_name(endpoint_.base), asked_as(), head_.headers);
  const int status = head_.status;
  // A signed URL that ran out: the registry makes a new one.
  if (is_elsewhere_ && status == 403 && !std::exchange(is_resolved_again_, true)) return send();
  if (may_ask_by_get()) {
    is_head_by_get_ = true;
    return send();
  }
  const bool is_stale_token = authorization_ && !authorization_->is_fresh;
  if (!is_elsewhere_ && (status == 401 || (status == 403 && is_stale_token)))
    return on_refused(std::move(*landed));
  if (is_elsewhere_ || status != 403) note_authorization_taken();
  if (status == 200 || status == 206) return on_accepted(std::move(*landed));
  // An empty object has no first byte.
  if (status == 416 && is_head_by_get_) return answer_head({});
  read_error(std::move(*landed));
}

// A URL that a registry signed for GET is often refused for HEAD; some registries know no HEAD of blobs.
bool RequestFlow::may_ask_by_get() const {
  if (!request_.head_only || is_head_by_get_) return false;
  if (head_.status == 405 || head_.status == 501) return is_elsewhere_ || request_.kind == Kind::blob;
  // Only the body of a 400 tells what was wrong (wrong_transport).
  if (head_.status == 400 && request_.kind != Kind::blob) return true;
  return is_elsewhere_ && (head_.status == 400 || head_.status == 403);
}

// The breaker is about the endpoint alone, not about storage or token servers it sends us to.
void RequestFlow::note_endpoint_answer(const Result<Landed>& landed) {
  if (landed || !asking_->is_at_endpoint()) return attempt_.answered();
  if (is_silence(landed.error())) attempt_.failed(landed.error());
}

void RequestFlow::note_authorization_taken() {
  if (!authorization_) return;
  if (authorization_->is_basic) demand_.choice.scheme = registry::AuthChoice::Scheme::basic;
  parts_.demands.remember(endpoint_, demand_);
  if (authorization_->is_sent_as_it_is())
    parts_.basic_refusals.forget(basic_key(endpoint_, *authorization_->credentials));
}

void RequestFlow::on_refused(Landed landed) {
  auto demand = read_demand(landed.response.head.headers);
  const bool has_no_challenge = head_.status == 401 && !demand;
  if (has_no_challenge && authorizations_ == 0) return ask_for_challenge();
  if (!may_ask_again(demand)) return read_error(std::move(landed));
  if (authorization_ && authorization_->token_request)
    parts_.tokens.drop(*authorization_->token_request, authorization_->token);
  if (authorization_ && authorization_->helper && !authorization_->is_fresh && authorization_->is_basic)
    parts_.credentials.forget(*authorization_->helper);
  if (!demand) return authorize(demand_);
  if (authorization_ && demand->choice.error == "insufficient_scope")
    demand->choice.scope += " " + demand_.choice.scope;
  authorize(std::move(*demand));
}

bool RequestFlow::may_ask_again(const std::optional<Demand>& demand) const {
  if (authorizations_ >= kMostAuthorizations) return false;
  if (!authorization_) return demand.has_value();
  if (!authorization_->is_fresh) return true;
  return demand && !is_same_demand(*demand, demand_);
}

// Some registries give the challenge for /v2/ alone (protocol.md §3.1).
void RequestFlow::ask_for_challenge() {
  asking_ = std::make_unique<RedirectFlow>(
      parts_, endpoint_, rules_,
      RedirectRequest{"GET", ping_url(endpoint_), {}, {}, deadline_, request_.progress});
  asking_->start([this](Result<Landed> landed) { on_challenge(std::move(landed)); });
}

void RequestFlow::on_challenge(Result<Landed> landed) {
  const auto ended = std::move(asking_);
  if (!landed) return finish(std::move(landed).error());
  auto demand = landed->is_elsewhere ? std::nullopt : read_demand(landed->response.head.headers);
  landed->response.body.reset();
  if (!demand) return finish(denied_error({}));
  demand->choice.scope.clear();  // it is for /v2/, not for the repository
  authorize(std::move(*demand));
}

void RequestFlow::on_accepted(Landed landed) {
  auto asked = request_;
  if (is_head_by_get_) {
    asked.head_only = false;
    asked.range = ByteRange{0, 1};
  }
  auto answer = read_answer(asked, head_, place_);
  if (!answer) return finish(std::move(answer).error());
  if (is_head_by_get_) return answer_head(std::move(*answer));
  take(std::move(*answer));
  auto body = std::make_unique<CountedBody>(parts_.loop, parts_.body_bytes, parts_.download_limit,
                                            std::hash<std::string>{}(request_.reference),
                                            std::move(landed.response.body));
  body_ = body.get();
  response_.body = std::move(body);
  if (request_.kind == Kind::manifest && !request_.head_only) return sniff_manifest();
  finish(std::move(response_));
}

void RequestFlow::take(FetchResponse answer) {
  response_ = std::move(answer);
  response_.endpoint = endpoint_index_;
  response_.endpoint_name = origin_name(endpoint_.base);
  // The node's client certificate is shown whoever asks: what came by it is not open to everybody.
  response_.authenticated =
      (authorization_ && authorization_->credentials) || !endpoint_.settings->cert_file.empty();
}

// What HEAD would have said. The body of a storage that ignored the range is dropped with its connection.
void RequestFlow::answer_head(FetchResponse answer) {
  take(std::move(answer));
  if (head_.status != 200) {
    const auto said = registry::parse_content_range(head_.headers.get("Content-Range").value_or(""));
    response_.total = said ? said->size : std::nullopt;
  }
  response_.status = 200;
  response_.headers = head_.headers;
  response_.body_range = {0, response_.total.value_or(kOpenEnd)};
  response_.body = std::make_unique<NoBody>(parts_.loop);
  finish(std::move(response_));
}

// Web pages come with any Content-Type; the first byte of a manifest is never '<'.
void RequestFlow::sniff_manifest() {
  pending_ =
      body_->read(http::kMostBodyRead, [this](Result<Bytes> bytes) { on_first_bytes(std::move(bytes)); });
}

void RequestFlow::on_first_bytes(Result<Bytes> bytes) {
  if (!bytes) return finish(std::move(bytes).error());
  if (bytes->empty()) {
    Error error{Errc::upstream_protocol,
                fmt::format("{} answered {} with an empty manifest", place_, head_.status)};
    error.diagnosis = "empty_manifest";
    return finish(std::move(error));
  }
  if (looks_like_html(bytes->view())) return finish(not_a_registry(place_, head_.status));
  body_->put_back(std::move(*bytes));
  finish(std::move(response_));
}

void RequestFlow::read_error(Landed landed) {
  pending_ =
      read_small_body(std::move(landed.response.body), kMostErrorBytes,
                      [this](Result<SmallBody> body) { on_error_body(body ? body->text : std::string()); });
}

void RequestFlow::on_error_body(std::string_view body) {
  if (auto wrong = wrong_transport(place_, head_.status, body)) return finish(std::move(*wrong));
  if (!is_elsewhere_ && is_ingress_404(head_, body)) return finish(no_route(place_));
  if (head_.status == 404 && !is_registrys_own_404(head_, body, is_elsewhere_))
    return finish(not_a_registry(place_, head_.status));
  auto error = status_error(head_, body, fmt::format("{} for {}", place_, endpoint_.repository));
  // A manifest that lists a blob its registry does not have is no wrong name.
  const bool is_blob = request_.kind == Kind::blob && error.code == Errc::not_found;
  if (is_blob && error.diagnosis.empty()) error.diagnosis = "blob_unknown";
  error.retry_after = retry_after(head_.headers, parts_.loop.wall_now());
  error.may_be_hidden = head_.status == 404 && authorization_ && !authorization_->credentials;
  if (error.retry_after)
    error.message += fmt::format(" (asks to come back after {} s)", error.retry_after->count());
  if (head_.status == 429 && !is_elsewhere_) note_rate_limit(error);
  const bool is_storage_broken = is_elsewhere_ && error.code == Errc::upstream_status && head_.status != 429;
  if (is_storage_broken) error.diagnosis = "storage_unreachable";
  if (error.code != Errc::denied) return finish(std::move(error));
  // A storage that refuses says nothing about rights: those the registry had already granted.
  if (is_elsewhere_) {
    error.code = Errc::upstream_status;
    error.diagnosis = "storage_unreachable";
    return finish(std::move(error));
  }
  error = denied_error(body);
  if (head_.status == 401 && authorization_ && authorization_->is_sent_as_it_is())
    parts_.basic_refusals.add(basic_key(endpoint_, *authorization_->credentials), parts_.loop.now(), error);
  finish(std::move(error));
}

// A registry whose pulls are used up says so again and again: it is left alone for a while.
void RequestFlow::note_rate_limit(Error& error) {
  auto limit = parts_.pull_limits.of(origin_name(endpoint_.base));
  if (limit && limit->asked_as != asked_as()) limit.reset();
  if (limit) error.message += "; " + registry::describe(limit->limit);
  if (limit && limit->limit.left == 0 && !error.retry_after) error.retry_after = kRestWhenUsedUp;
  if (!error.retry_after) return;
  const auto now = parts_.loop.now();
  parts_.rate_limits.add_until(rate_key(), now, now + std::min(*error.retry_after, kLongestRateLimit), error);
}

Error RequestFlow::denied_error(std::string_view body) const {
  Error error{Errc::denied, fmt::format("{} refuses {}: {}", origin_name(endpoint_.base),
                                        endpoint_.repository, status_and_words(head_.status, body))};
  error.status = head_.status;
  if (!authorization_) return error;
  if (authorization_->credentials) {
    error.message +=
        fmt::format(" to the credentials of {}", source_of(endpoint_, *authorization_->credentials));
    // Who was given a token, or is told 403, is known there and has no right to this.
    const bool is_known_there = authorization_->token_request || head_.status == 403;
    error.diagnosis = is_known_there ? "repository_denied" : "credentials_refused";
  } else if (!authorization_->note.empty()) {
    error.message += "; " + authorization_->note;
    error.diagnosis = authorization_->note_diagnosis;
  } else {
    explain_none(error, endpoint_, *authorization_);
  }
  return error;
}

Error RequestFlow::expired() {
  Error error{Errc::upstream_timeout, {}};
  const auto home = origin_name(endpoint_.base);
  if (authorizing_) {
    error.message =
        fmt::format("{} was not asked: {} did not come in time", home, authorizing_->waiting_for());
  } else if (asking_) {
    error.message = fmt::format("{} did not answer in time", asking_->place());
    if (asking_->is_at_endpoint()) attempt_.failed(error);
    if (asking_->is_elsewhere()) error.diagnosis = "storage_unreachable";
  } else {
    error.message = fmt::format("{} began to answer and did not go on in time", place_);
  }
  pending_.reset();
  asking_.reset();
  authorizing_.reset();
  return error;
}

void RequestFlow::finish(Result<FetchResponse> result) {
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::upstream
