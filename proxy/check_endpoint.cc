#include "proxy/check_endpoint.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/check_words.h"
#include "proxy/upstream/answer.h"
#include "proxy/upstream/small_body.h"
#include "proxy/upstream/wire.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostTagList = 256u << 10;
constexpr std::size_t kTagsShown = 8;
// A clock that is off by less is no reason for a certificate to look wrong.
constexpr Duration kClockOff = std::chrono::minutes(5);

bool is_about_time(const Error& error) {
  return error.diagnosis == "tls_expired" || error.diagnosis == "tls_not_yet_valid";
}

// For a look at who is there: nothing is checked, and nothing of ours is shown, no client certificate either.
net::TlsSettings unverified(const net::TlsSettings& settings) {
  net::TlsSettings bare;
  bare.server_name = settings.server_name;
  bare.insecure_skip_verify = true;
  return bare;
}

std::string tag_list(std::string_view body) {
  const auto json = parse_json(body, {kMostTagList, 8});
  const Json* tags = json ? json_find(*json, "tags") : nullptr;
  if (tags == nullptr || !tags->is_array() || tags->empty()) return "no tags";
  std::string all = "the tags ";
  for (std::size_t i = 0; i < std::min(tags->size(), kTagsShown); ++i)
    if ((*tags)[i].is_string()) all += (i ? ", " : "") + printable((*tags)[i].get<std::string>(), 80);
  if (tags->size() > kTagsShown) all += " and more";
  return all;
}

}  // namespace

EndpointWalk::EndpointWalk(const CheckParts& parts, CheckKit& kit, CheckReport& report,
                           CheckRecorder& recorder, VerdictFacts& facts, registry::TargetPtr target,
                           const registry::Rules& rules, std::size_t endpoint, std::string reference,
                           Deadline deadline)
    : parts_(parts),
      kit_(kit),
      report_(report),
      recorder_(recorder),
      facts_(facts),
      target_(std::move(target)),
      rules_(rules),
      index_(endpoint),
      endpoint_(target_->endpoints[endpoint]),
      reference_(std::move(reference)),
      deadline_(deadline),
      fetching_(parts.loop, kit.flows, rules, deadline) {}

void EndpointWalk::start(Done<upstream::FetchResponse> done) {
  done_ = std::move(done);
  recorder_.begin_endpoint();
  facts_.host = endpoint_.base.authority();
  facts_.repository = endpoint_.repository;
  facts_.other_scheme = endpoint_.base.scheme == "https" ? "http" : "https";
  facts_.redirect.clear();
  facts_.clock.clear();
  const auto count = target_->endpoints.size();
  const auto which = count > 1 ? fmt::format("{} of {}: ", index_ + 1, count) : std::string();
  report_.add("endpoint", StepState::told, which + endpoint_words(*target_, endpoint_)).facts = {
      {"url", endpoint_.base.str()},
      {"repository", endpoint_.repository},
      {"configured", endpoint_.configured}};
  ask_dns();
}

// Where the pull's own requests go, with its TLS settings and its rule about addresses.
net::DialRequest EndpointWalk::dial_request() const {
  const auto policy = endpoint_.configured ? net::AddressPolicy::any : net::AddressPolicy::public_only;
  auto where = upstream::client_request("GET", upstream::ping_url(endpoint_), *endpoint_.settings, policy,
                                        kit_.flows.settings, parts_.loop.now(), deadline_)
                   .where;
  where.report = dialled_;
  if (kit_.proxies) where.proxy = kit_.proxies->choose(where.tls, where.host, where.port);
  return where;
}

void EndpointWalk::ask_dns() {
  const auto where = dial_request();
  if (where.proxy) {
    report_.add("dns", StepState::told,
                fmt::format("the proxy {} looks {} up", where.proxy->str(), where.host));
    return dial();
  }
  pending_ = parts_.resolver.inquire(where.host, [this](Result<net::DnsReport> report) {
    on_dns(report ? std::move(*report) : net::DnsReport());
  });
}

void EndpointWalk::on_dns(net::DnsReport report) {
  if (report.source != net::DnsReport::Source::numeric) tell_dns(report_, endpoint_.base.host, report);
  dial();
}

void EndpointWalk::dial() {
  pending_ = parts_.dialer.dial(dial_request(),
                                [this](Result<net::ByteStreamPtr> stream) { on_dialled(std::move(stream)); });
}

void EndpointWalk::on_dialled(Result<net::ByteStreamPtr> stream) {
  tell_connection(stream);
  if (!stream && is_about_time(stream.error())) return ask_clock(std::move(stream).error());
  const auto word = stream ? std::string() : stream.error().diagnosis;
  if (word == "tls_timeout" || word == "tls_handshake") return ask_in_plain(std::move(stream).error());
  if (!stream) return finish(std::move(stream).error());
  ping();
}

void EndpointWalk::tell_connection(const Result<net::ByteStreamPtr>& stream) {
  const auto said = stream ? std::string() : printable(stream.error().message, 1000);
  if (stream && !dialled_->connected) dialled_->connected = (*stream)->peer();
  if (!dialled_->connected) {
    auto& last = report_.steps.back();
    const bool is_told = last.step == "dns" && last.state == StepState::bad;
    const bool is_unknown = dialled_->addresses.empty() && dialled_->proxy.empty();
    if (is_told) last.said = said;
    if (!is_told) report_.add(is_unknown ? "dns" : "connect", StepState::bad, said);
  } else {
    report_.add("connect", StepState::good,
                dialled_->connected->str() +
                    (dialled_->proxy.empty() ? std::string() : ", the proxy " + dialled_->proxy));
  }
  auto& step = report_.steps.back();
  Json addresses = Json::array();
  for (const auto& address : dialled_->addresses) addresses.push_back(address.str());
  if (addresses.size() > 1)
    for (const auto& address : dialled_->addresses) step.details.push_back("may be tried: " + address.str());
  step.facts["addresses"] = std::move(addresses);
  if (!dialled_->connected) return;
  step.facts["connected"] = dialled_->connected->str();
  if (endpoint_.base.scheme == "http") {
    report_.add("tls", StepState::told, "none: the endpoint is written with http://");
    return;
  }
  const net::PeerCertificates none;
  const auto& tls = dialled_->tls ? *dialled_->tls : none;
  const bool is_proxys = !stream && stream.error().diagnosis == "proxy_failed";
  if (is_proxys) return static_cast<void>(report_.add("proxy", StepState::bad, said));
  if (!stream) return tell_tls(report_, StepState::bad, said, tls);
  using Verdict = net::PeerCertificates::Verdict;
  const auto verdict = tls.verdict == Verdict::unchecked
                           ? "the certificate is not checked (insecure_skip_verify)"
                       : tls.verdict == Verdict::trusted ? "the certificate is valid for " + tls.name
                                                         : std::string("an earlier session was resumed");
  tell_tls(report_, StepState::good, fmt::format("{}, {}", tls.version, verdict), tls);
}

// A certificate that is out of its time here: the server's own clock tells whose fault it is. It is asked
// without verification and without credentials.
void EndpointWalk::ask_clock(Error error) {
  auto request =
      upstream::client_request("GET", upstream::ping_url(endpoint_), *endpoint_.settings,
                               dial_request().policy, kit_.flows.settings, parts_.loop.now(), deadline_);
  request.where.tls_settings = unverified(request.where.tls_settings);
  request.fresh_connection = true;
  pending_ = kit_.client.start(
      std::move(request), [this, error = std::move(error)](Result<http::ClientResponse> response) mutable {
        on_clock(std::move(error), response);
      });
}

void EndpointWalk::on_clock(Error error, const Result<http::ClientResponse>& response) {
  const auto date = response ? response->head.headers.get("Date") : std::nullopt;
  if (const auto theirs = date ? upstream::parse_http_date(*date) : std::nullopt) {
    const auto ours = parts_.loop.wall_now();
    const auto off = ours - *theirs;
    if (off > kClockOff || off < -kClockOff) {
      facts_.clock = fmt::format("this machine's clock says {}, the server's {}", day_and_time(ours),
                                 day_and_time(*theirs));
      report_.add("clock", StepState::bad,
                  fmt::format("it is {} {}: {}", span_words(off < off.zero() ? -off : off),
                              off < off.zero() ? "behind" : "ahead", facts_.clock));
    } else {
      report_.add("clock", StepState::good, "this machine's clock agrees with the server's");
    }
  }
  finish(std::move(error));
}

void EndpointWalk::ping() {
  asking_ = std::make_unique<upstream::RedirectFlow>(
      kit_.flows, endpoint_, rules_,
      upstream::RedirectRequest{"GET", upstream::ping_url(endpoint_), {}, {}, deadline_, {}});
  asking_->start([this](Result<upstream::Landed> landed) { on_ping(std::move(landed)); });
}

void EndpointWalk::on_ping(Result<upstream::Landed> landed) {
  const auto ended = std::move(asking_);
  if (!landed && endpoint_.base.scheme == "http" && landed.error().diagnosis.empty())
    return ask_over_tls(std::move(landed).error());
  if (!landed) return fail("api", std::move(landed).error());
  tell_api(*landed);
  if (!landed->is_elsewhere) demand_ = upstream::read_demand(landed->response.head.headers);
  landed->response.body.reset();
  reference_.empty() ? log_in() : ask_manifest();
}

// Who is asked in plain HTTP and hangs up, or talks nonsense, may want TLS.
void EndpointWalk::ask_over_tls(Error error) {
  auto where = dial_request();
  where.report = nullptr;
  where.tls = true;
  where.proxy = kit_.proxies ? kit_.proxies->choose(true, where.host, where.port) : nullptr;
  where.tls_settings = unverified(where.tls_settings);
  pending_ =
      parts_.dialer.dial(where, [this, error = std::move(error)](Result<net::ByteStreamPtr> stream) mutable {
        if (stream) {
          error.message += "; the port speaks TLS: write https:// in its endpoint";
          error.diagnosis = "scheme_mismatch";
        }
        fail("api", std::move(error));
      });
}

// Who takes the beginning of TLS without an answer may be waiting for the end of an HTTP request.
void EndpointWalk::ask_in_plain(Error error) {
  auto request =
      upstream::client_request("GET", upstream::ping_url(endpoint_), *endpoint_.settings,
                               dial_request().policy, kit_.flows.settings, parts_.loop.now(), deadline_);
  request.where.tls = false;
  request.fresh_connection = true;
  pending_ = kit_.client.start(
      std::move(request), [this, error = std::move(error)](Result<http::ClientResponse> response) mutable {
        if (response) {
          error.message += "; the port speaks plain HTTP: write http:// in its endpoint";
          error.diagnosis = "scheme_mismatch";
          report_.steps.back().said = printable(error.message, 1000);
        }
        finish(std::move(error));
      });
}

// Only told: the pull itself does not ask /v2/ unless it must.
void EndpointWalk::tell_api(const upstream::Landed& landed) {
  const auto& head = landed.response.head;
  auto& step = report_.add("api", StepState::told,
                           fmt::format("{} answers {} {}", upstream::origin_name(landed.url) + "/v2/",
                                       head.status, http::reason_of(head.status)));
  const bool is_registry =
      head.headers.has("Docker-Distribution-Api-Version") || upstream::read_demand(head.headers);
  if (head.status == 200 || is_registry) step.state = StepState::good;
  step.facts["status"] = head.status;
  step.details = challenge_words(head.headers);
  if (landed.url.scheme == "https" && endpoint_.base.scheme == "http") {
    facts_.redirect = upstream::origin_name(landed.url);
    step.details.push_back(
        "http:// leads to https:// there; credentials do not go along, write https:// into the endpoint");
  }
  const auto type = head.headers.get("Content-Type").value_or("");
  if (head.status == 200 && type.starts_with("text/html") && !is_registry)
    step.details.push_back("that is a web page, as of a login or another service, and no registry's answer");
}

void EndpointWalk::ask_manifest() {
  request_.target = target_;
  request_.kind = upstream::Kind::manifest;
  request_.head_only = true;
  request_.reference = reference_;
  request_.first_endpoint = index_;
  fetching_.start(request_,
                  [this](Result<upstream::FetchResponse> response) { on_manifest(std::move(response)); });
}

void EndpointWalk::on_manifest(Result<upstream::FetchResponse> response) {
  if (response) return finish(std::move(response));
  auto error = std::move(response).error();
  if (error.status >= 400) return ask_words(std::move(error));
  fail("manifest", std::move(error));
}

// An answer to HEAD has no body: what the registry has to say comes with a GET.
void EndpointWalk::ask_words(Error error) {
  request_.head_only = false;
  fetching_.start(request_, [this, error](Result<upstream::FetchResponse> response) {
    on_words(error, std::move(response));
  });
}

void EndpointWalk::on_words(Error error, Result<upstream::FetchResponse> response) {
  if (response) return finish(std::move(response));  // it knows no HEAD
  if (response.error().status >= 400) error = std::move(response).error();
  if (error.code == Errc::not_found && error.diagnosis.empty()) return ask_tags(std::move(error));
  fail("manifest", std::move(error));
}

// A tag that is not there, or a repository that is not: the list of tags knows.
void EndpointWalk::ask_tags(Error error) {
  request_.kind = upstream::Kind::tags;
  request_.query = "n=50";
  fetching_.start(request_, [this, error](Result<upstream::FetchResponse> response) {
    on_tags(error, std::move(response));
  });
}

void EndpointWalk::on_tags(Error error, Result<upstream::FetchResponse> response) {
  if (!response) {
    if (response.error().diagnosis == "repository_unknown") error.diagnosis = "repository_unknown";
    return fail("manifest", std::move(error));
  }
  fetching_.read(std::move(*response), kMostTagList,
                 [this, error = std::move(error)](Result<upstream::SmallBody> body) mutable {
                   error.diagnosis = "tag_unknown";
                   const auto has = body && body->complete ? tag_list(body->text) : std::string("other tags");
                   report_.add("tags", StepState::told,
                               fmt::format("{} is there, with {}", endpoint_.repository, has));
                   fail("manifest", std::move(error));
                 });
}

void EndpointWalk::log_in() {
  if (!demand_) {
    report_.add("login", StepState::good, "no login is asked for");
    return finish(upstream::FetchResponse{});
  }
  demand_->choice.scope.clear();  // of a repository: there is none
  authorizing_ =
      std::make_unique<upstream::AuthorizationFlow>(kit_.flows, endpoint_, rules_, as_node_, *demand_);
  authorizing_->start(
      [this](Result<upstream::Authorization> authorization) { on_login(std::move(authorization)); });
}

void EndpointWalk::on_login(Result<upstream::Authorization> authorization) {
  const auto ended = std::move(authorizing_);
  if (!authorization) return fail("login", std::move(authorization).error());
  const bool is_anonymous = !authorization->credentials && authorization->diagnosis.empty();
  if (is_anonymous) {
    report_.add("login", StepState::told,
                "nobody: no credentials are configured, what is public can be pulled");
    return finish(upstream::FetchResponse{});
  }
  login_ = std::move(*authorization);
  asking_ = std::make_unique<upstream::RedirectFlow>(
      kit_.flows, endpoint_, rules_,
      upstream::RedirectRequest{"GET", upstream::ping_url(endpoint_), {}, login_.header, deadline_, {}});
  asking_->start([this](Result<upstream::Landed> landed) { on_login_taken(std::move(landed)); });
}

void EndpointWalk::on_login_taken(Result<upstream::Landed> landed) {
  const auto ended = std::move(asking_);
  if (!landed) return fail("login", std::move(landed).error());
  const int status = landed->response.head.status;
  landed->response.body.reset();
  if (status != 401 && status != 403) {
    if (login_.is_sent_as_it_is())
      kit_.flows.basic_refusals.forget(upstream::basic_key(endpoint_, *login_.credentials));
    report_.add("login", StepState::good, fmt::format("{} answers {}", endpoint_.base.authority(), status));
    return finish(upstream::FetchResponse{});
  }
  Error error{Errc::denied, fmt::format("{} answers {} to the login", endpoint_.base.authority(), status)};
  error.status = status;
  if (login_.credentials) {
    error.message += " with the credentials of " + facts_.source;
    error.diagnosis = "credentials_refused";
  } else {
    upstream::explain_none(error, endpoint_, login_);
  }
  // Neither a pull nor the next check tries it again at once: accounts get locked.
  if (status == 401 && login_.is_sent_as_it_is())
    kit_.flows.basic_refusals.add(upstream::basic_key(endpoint_, *login_.credentials), parts_.loop.now(),
                                  error);
  fail("login", std::move(error));
}

void EndpointWalk::fail(std::string_view step, Error error) {
  recorder_.failed(step, error);
  finish(std::move(error));
}

void EndpointWalk::finish(Result<upstream::FetchResponse> result) {
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::proxy
