#include "proxy/upstream/answer.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/registry/range.h"
#include "proxy/registry/registry_error.h"
#include "proxy/registry/text.h"
#include "runtime/digest.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::upstream {
namespace {

Error protocol_error(std::string_view diagnosis, std::string message, int status) {
  Error error{Errc::upstream_protocol, std::move(message)};
  error.diagnosis = std::string(diagnosis);
  error.status = status;
  return error;
}

bool is_html(const http::Headers& headers) {
  const auto type = headers.get("Content-Type");
  return type && (registry::starts_with_nocase(*type, "text/html") ||
                  registry::starts_with_nocase(*type, "application/xhtml"));
}

std::optional<ByteCount> content_length(const http::Headers& headers) {
  const auto text = headers.get("Content-Length");
  return text ? registry::parse_digits(registry::trim(*text)) : std::nullopt;
}

// An encoded body has another length and other bytes than the digest is of.
std::optional<Error> check_encoding(const http::ResponseHead& head, std::string_view name) {
  const auto encoding = head.headers.get("Content-Encoding");
  if (!encoding || registry::equal_ascii_nocase(*encoding, "identity") || registry::trim(*encoding).empty())
    return std::nullopt;
  return protocol_error(
      "content_encoding",
      fmt::format("{} sent the object with Content-Encoding {} though only identity was asked "
                  "for; look for a proxy that compresses",
                  name, printable(*encoding, 40)),
      head.status);
}

// The registry says itself that it is about to send something else.
std::optional<Error> check_digest(const FetchRequest& request, const http::ResponseHead& head,
                                  std::string_view name) {
  if (request.kind != Kind::manifest && request.kind != Kind::blob) return std::nullopt;
  const auto said = head.headers.get("Docker-Content-Digest");
  const auto wanted = Digest::parse(request.reference);
  const auto announced = Digest::parse(said.value_or(""));
  if (!wanted || !announced || announced->algorithm() != wanted->algorithm() || *announced == *wanted)
    return std::nullopt;
  return protocol_error(
      "digest_header_mismatch",
      fmt::format("{} was asked for {} and announces {}", name, wanted->str(), announced->str()),
      head.status);
}

Error wrong_range(const FetchRequest& request, const http::ResponseHead& head, std::string_view name) {
  const auto said = printable(head.headers.get("Content-Range").value_or("(none)"), 80);
  if (!request.range)
    return protocol_error("unexpected_range",
                          fmt::format("{} sent a part though the whole was asked for", name), head.status);
  return protocol_error("bad_content_range",
                        fmt::format("{} was asked for the bytes from {} and answered with Content-Range {}",
                                    name, request.range->first, said),
                        head.status);
}

std::optional<Error> read_part(const FetchRequest& request, const http::ResponseHead& head,
                               std::string_view name, FetchResponse& response) {
  const auto header = head.headers.get("Content-Range");
  const auto part = registry::parse_content_range(header.value_or(""));
  if (!request.range || request.head_only || !part || !part->range) return wrong_range(request, head, name);
  const auto& range = *part->range;
  if (range.first != request.range->first || range.end > request.range->end)
    return wrong_range(request, head, name);
  const auto length = content_length(head.headers);
  if (length && *length != range.size())
    return protocol_error("bad_content_length",
                          fmt::format("{} contradicts itself: Content-Range {} and Content-Length {}", name,
                                      printable(*header, 80), *length),
                          head.status);
  response.body_range = range;
  response.total = part->size;
  response.ranges_supported = true;
  return std::nullopt;
}

void read_whole(const http::ResponseHead& head, FetchResponse& response) {
  response.total = content_length(head.headers);
  response.body_range = {0, response.total.value_or(kOpenEnd)};
  response.ranges_supported = head.headers.has_token("Accept-Ranges", "bytes");
}

}  // namespace

Error not_a_registry(std::string_view name, int status) {
  return protocol_error(
      "not_a_registry",
      fmt::format("{} answered {} with a web page: it is not a registry, or something between us "
                  "answers in its place",
                  name, status),
      status);
}

bool looks_like_html(std::string_view first_bytes) {
  const auto start = first_bytes.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && first_bytes[start] == '<';
}

Result<FetchResponse> read_answer(const FetchRequest& request, const http::ResponseHead& head,
                                  std::string_view name) {
  if (is_html(head.headers)) return not_a_registry(name, head.status);
  if (auto wrong = check_encoding(head, name)) return std::move(*wrong);
  if (auto wrong = check_digest(request, head, name)) return std::move(*wrong);
  FetchResponse response;
  response.status = head.status;
  if (head.status == 206) {
    if (auto wrong = read_part(request, head, name, response)) return std::move(*wrong);
  } else {
    read_whole(head, response);
  }
  response.headers = head.headers;
  return response;
}

bool is_ingress_404(const http::ResponseHead& head, std::string_view body) {
  const auto type = head.headers.get("Content-Type");
  if (head.status != 404 || head.headers.has("Docker-Distribution-Api-Version") || !type ||
      !registry::starts_with_nocase(*type, "text/plain"))
    return false;
  constexpr std::string_view kTraefik = "404 page not found\n", kNginx = "default backend - 404";
  if (!body.empty())
    return registry::trim_all(body) == registry::trim_all(kTraefik) || registry::trim_all(body) == kNginx;
  const auto length = content_length(head.headers);
  return length == kTraefik.size() || length == kNginx.size();
}

Error no_route(std::string_view name) {
  return protocol_error(
      "not_a_registry",
      fmt::format(
          "{} answered 404 as an ingress does that has no route for this host: look whether the Ingress "
          "of that name is there and its registry ready",
          name),
      404);
}

bool is_registrys_own_404(const http::ResponseHead& head, std::string_view body, bool is_elsewhere) {
  if (head.headers.has("Docker-Distribution-Api-Version")) return true;
  const auto json = parse_json(body, {64u << 10, 16});
  if (json && json_find(*json, "errors") != nullptr) return true;
  return !is_elsewhere && !is_html(head.headers) && !looks_like_html(body);
}

std::optional<Error> wrong_transport(std::string_view place, int status, std::string_view body) {
  if (status != 400) return std::nullopt;
  const auto says = [body](std::string_view words) { return body.find(words) != std::string_view::npos; };
  if (says("plain HTTP request was sent to HTTPS port") ||        // nginx
      says("HTTP request to an HTTPS server") ||                  // Go: distribution, Traefik
      says("speaking plain HTTP to an SSL-enabled server port"))  // Apache
    return protocol_error(
        "scheme_mismatch",
        fmt::format("{} speaks TLS and no plain HTTP; write https:// in its endpoint", place), status);
  if (says("No required SSL certificate was sent"))
    return protocol_error(
        "tls_client_certificate",
        fmt::format("{} wants a client certificate; set tls.cert_file and tls.key_file", place), status);
  if (says("The SSL certificate error"))
    return protocol_error("tls_client_certificate",
                          fmt::format("{} refuses our client certificate; check tls.cert_file", place),
                          status);
  return std::nullopt;
}

std::string status_and_words(int status, std::string_view body) {
  const auto words = fmt::format("{} {}", status, http::reason_of(status));
  const auto said = registry::read_error_body(body).text();
  return said.empty() ? words : words + ": " + said;
}

Error status_error(const http::ResponseHead& head, std::string_view body, std::string_view place) {
  Error error{Errc::upstream_status,
              fmt::format("{} answered {}", place, status_and_words(head.status, body))};
  error.status = head.status;
  switch (head.status) {
    case 401:
    case 403:
      error.code = Errc::denied;
      break;
    case 404:
      error.code = Errc::not_found;
      if (registry::read_error_body(body).code == "NAME_UNKNOWN") error.diagnosis = "repository_unknown";
      break;
    case 416:
      error.code = Errc::range_unsatisfiable;
      break;
    case 429:
      error.diagnosis = "rate_limited";
      break;
    default:
      break;
  }
  return error;
}

}  // namespace layerd::upstream
