#include "proxy/upstream/redirect_flow.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/upstream/wire.h"

namespace layerd::upstream {
namespace {

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

void RedirectFlow::start(Done<Landed> done) {
  done_ = std::move(done);
  send();
}

std::string RedirectFlow::place() const {
  const auto here = origin_name(url_);
  if (url_.same_origin(request_.url)) return here;
  return fmt::format("{} (where {} redirects to)", here, origin_name(request_.url));
}

void RedirectFlow::send() {
  const bool is_home = url_.same_origin(request_.url);
  // Whoever may name any host in ns must not send us about with what is configured for others.
  const bool is_own = is_home || !endpoint_.configured;
  const auto host = is_own ? endpoint_.settings : rules_.settings_for(url_.host, url_.port);
  auto request = client_request(request_.method, url_, *host, policy(), parts_.settings, parts_.loop.now(),
                                request_.deadline);
  request.where.progress = request_.progress;
  request.is_spare = request_.is_spare;
  for (const auto& header : request_.headers.all()) request.head.headers.add(header.name, header.value);
  if (!request_.authorization.empty() && is_home && !has_left_)
    request.head.headers.add("Authorization", request_.authorization);
  pending_ = parts_.client.start(
      std::move(request), [this](Result<http::ClientResponse> response) { on_head(std::move(response)); });
}

// The rule of the endpoint that sent us there (design.md §3.6).
net::AddressPolicy RedirectFlow::policy() const {
  if (!endpoint_.configured) return net::AddressPolicy::public_only;
  if (url_.same_origin(request_.url) || rules_.is_configured(url_.host, url_.port))
    return net::AddressPolicy::any;
  return net::AddressPolicy::site;
}

void RedirectFlow::on_head(Result<http::ClientResponse> response) {
  if (!response) {
    auto error = std::move(response).error();
    // The layers below name the host they dialled; how we came there only we know.
    if (!url_.same_origin(request_.url)) {
      error.message += fmt::format(" (where {} redirects to)", origin_name(request_.url));
      const bool is_silence =
          error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
      if (is_silence && error.diagnosis != "proxy_failed") error.diagnosis = "storage_unreachable";
    }
    return finish(std::move(error));
  }
  answered_ = true;
  if (parts_.watcher) parts_.watcher->answered(url_, response->head, !url_.same_origin(request_.url));
  if (request_.progress) request_.progress();
  if (is_redirect(response->head.status)) {
    response->body.reset();  // gives the connection back before the next request wants one
    return follow(response->head);
  }
  finish(Landed{std::move(*response), url_, !url_.same_origin(request_.url)});
}

void RedirectFlow::follow(const http::ResponseHead& head) {
  if (++hops_ > kMostRedirects)
    return finish(redirect_error(Errc::upstream_protocol, "too_many_redirects", "more than 5 redirects"));
  const auto location = head.headers.get("Location");
  if (!location)
    return finish(redirect_error(Errc::upstream_protocol, "bad_redirect", "a redirect without a Location"));
  auto next = registry::resolve_url(url_, *location);
  if (!next)
    return finish(
        redirect_error(Errc::upstream_protocol, "bad_redirect", "a redirect to what is no http URL"));
  if (url_.scheme == "https" && next->scheme == "http")
    return finish(
        redirect_error(Errc::refused_by_policy, "redirect_to_http",
                       fmt::format("a redirect to {} without TLS, which is refused", origin_name(*next))));
  if (!next->same_origin(request_.url)) has_left_ = true;
  parts_.redirects.add();
  url_ = std::move(*next);
  send();
}

Error RedirectFlow::redirect_error(Errc code, std::string_view diagnosis, std::string_view why) const {
  Error error{code, fmt::format("{} answered with {}", place(), why)};
  error.diagnosis = std::string(diagnosis);
  return error;
}

void RedirectFlow::finish(Result<Landed> result) {
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::upstream
