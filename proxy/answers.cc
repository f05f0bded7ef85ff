#include "proxy/answers.h"

#include <fmt/core.h>

#include <random>

#include "proxy/registry/range.h"
#include "proxy/registry/registry_error.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

using registry::RangeOutcome;

// RFC 9111 Warning: a quoted string; others' text is cut and made harmless.
std::string warning_of(std::string_view why) {
  std::string text = printable(why, 200);
  for (char& c : text) {
    if (c == '"' || c == '\\') c = '\'';
  }
  return fmt::format("299 - \"{}\"", text);
}

http::ResponseHead object_head(const Asked& asked, const ObjectFacts& facts) {
  http::ResponseHead head;
  head.headers.all().reserve(10);
  head.headers.add("Content-Type", std::string(facts.media_type));
  head.headers.add("Docker-Content-Digest", facts.digest.str());
  head.headers.add("ETag", registry::etag_of(facts.digest));
  head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  head.headers.add("Accept-Ranges", "bytes");
  head.headers.add("Cache-Control", asked.digest ? "max-age=31536000, immutable" : "no-cache");
  head.headers.add("Layerd-Source", std::string(name_of(facts.served)));
  if (asked.route.ns_given) head.headers.add("OCI-Namespace", asked.route.ns);
  if (facts.served == Served::stale) head.headers.add("Warning", warning_of(facts.why));
  return head;
}

// Differs from answer to answer, so that no object can contain it on purpose.
std::string fresh_boundary() {
  std::random_device source;
  return fmt::format("layerd-{:08x}{:08x}{:08x}", source(), source(), source());
}

void make_multipart(AnswerPlan& plan, const std::vector<ByteRange>& ranges, const ObjectFacts& facts) {
  auto parts = registry::plan_multipart(ranges, facts.size, facts.media_type, fresh_boundary());
  plan.head.headers.set("Content-Type", std::move(parts.content_type));
  for (auto& [text, range] : parts.parts) plan.pieces.push_back({std::move(text), range});
  plan.pieces.push_back({std::move(parts.trailer), {}});
  plan.length = parts.length;
}

void apply_range(AnswerPlan& plan, std::string_view wanted, const ObjectFacts& facts) {
  const RangeOutcome outcome = registry::evaluate_range(wanted, facts.size);
  if (outcome.kind == RangeOutcome::Kind::whole) return;
  plan.whole = false;
  plan.pieces.clear();
  plan.length = 0;
  if (outcome.kind == RangeOutcome::Kind::unsatisfiable) {
    plan.head.status = 416;
    plan.head.headers.add("Content-Range", registry::unsatisfied_range(facts.size));
    return;
  }
  plan.head.status = 206;
  if (outcome.ranges.size() > 1) return make_multipart(plan, outcome.ranges, facts);
  const ByteRange range = outcome.ranges.front();
  plan.head.headers.add("Content-Range", registry::content_range(range, facts.size));
  plan.pieces.push_back({{}, range});
  plan.length = range.size();
  plan.whole = range.size() == facts.size;
}

// Errors that are an upstream's word, or the lack of one.
bool is_upstreams(Errc code) {
  switch (code) {
    case Errc::not_found:
    case Errc::denied:
    case Errc::upstream_unreachable:
    case Errc::upstream_timeout:
    case Errc::upstream_status:
    case Errc::upstream_protocol:
    case Errc::truncated:
    case Errc::digest_mismatch:
      return true;
    default:
      return false;
  }
}

std::string joined_list(const http::Headers& headers, std::string_view name) {
  std::string list;
  for (std::string_view value : headers.get_all(name))
    list += (list.empty() ? "" : ", ") + std::string(value);
  return list;
}

}  // namespace

AnswerPlan plan_answer(const http::Exchange& exchange, const Asked& asked, const ObjectFacts& facts) {
  AnswerPlan plan;
  plan.head = object_head(asked, facts);
  const http::Headers& headers = exchange.request().headers;
  if (headers.has("If-None-Match") &&
      registry::if_none_match_hits(joined_list(headers, "If-None-Match"), facts.digest)) {
    plan.head.status = 304;
    return plan;
  }
  plan.pieces.push_back({{}, {0, facts.size}});
  plan.length = facts.size;
  plan.whole = true;
  const auto range = headers.get("Range");
  if (!range || exchange.is_head()) return plan;
  const auto condition = headers.get("If-Range");
  if (condition && !registry::if_range_holds(*condition, facts.digest)) return plan;
  apply_range(plan, *range, facts);
  return plan;
}

void note_object(http::Exchange& exchange, std::string_view event, const Asked& asked) {
  exchange.note(notes::kEvent, std::string(event));
  exchange.note(notes::kRef, asked.ref());
  if (asked.digest) exchange.note(notes::kDigest, asked.route.reference);
  if (const auto range = exchange.request().headers.get("Range"))
    exchange.note(notes::kRange, printable(range->substr(range->find('=') + 1), 60));
}

void note_served(http::Exchange& exchange, Served served) {
  exchange.note(notes::kCache, std::string(name_of(served)));
}

bool respond_without_bytes(http::Exchange& exchange, AnswerPlan& plan, ByteCount size) {
  if (plan.head.status == 304 || plan.head.status == 416) {
    exchange.respond(std::move(plan.head), {});
    return true;
  }
  if (!exchange.is_head()) return false;
  exchange.respond_head(std::move(plan.head), size);
  return true;
}

void respond_with_bytes(http::Exchange& exchange, const Asked& asked, const ObjectFacts& facts,
                        std::string_view bytes) {
  note_served(exchange, facts.served);
  AnswerPlan plan = plan_answer(exchange, asked, facts);
  if (respond_without_bytes(exchange, plan, facts.size)) return;
  if (plan.pieces.size() == 1 && plan.pieces.front().literal.empty()) {
    const ByteRange range = plan.pieces.front().range;
    return exchange.respond(std::move(plan.head), bytes.substr(range.first, range.size()));
  }
  std::string body;
  body.reserve(plan.length);
  for (const BodyPiece& piece : plan.pieces)
    body.append(piece.literal).append(bytes.substr(piece.range.first, piece.range.size()));
  exchange.respond(std::move(plan.head), body);
}

void respond_error(http::Exchange& exchange, const Asked* asked, const Error& error) {
  auto subject = registry::ErrorSubject::other;
  if (asked && asked->route.kind == registry::RouteKind::manifest) subject = registry::ErrorSubject::manifest;
  if (asked && asked->route.kind == registry::RouteKind::blob) subject = registry::ErrorSubject::blob;
  const registry::HttpError answer = registry::http_error_of(error, subject);
  exchange.note(notes::kDiagnosis, answer.diagnosis);
  exchange.note(notes::kError, answer.message);
  http::ResponseHead head;
  head.status = answer.status;
  head.reason = answer.reason;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  if (asked && is_upstreams(error.code)) head.headers.add("Layerd-Source", "upstream");
  if (asked && asked->route.ns_given) head.headers.add("OCI-Namespace", asked->route.ns);
  exchange.respond(std::move(head), registry::error_body(answer));
}

}  // namespace layerd::proxy
