// Fetcher: asks the registries of a Target for one thing. Redirects, tokens, retries, breaker and
// failover happen below this line. An interface, so that downloads run against scripted fetchers and
// on virtual time. Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "proxy/http/client.h"
#include "proxy/registry/endpoint.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/ticket.h"

namespace layerd::upstream {

enum class Kind : std::uint8_t { manifest, blob, referrers, tags };

struct FetchRequest {
  registry::TargetPtr target;
  Kind kind = Kind::blob;
  bool head_only = false;
  std::string reference;             // tag or digest; for referrers the digest; unused for tags
  std::string query;                 // passed on for referrers and tags; without '?'
  std::optional<ByteRange> range;    // blob GET only; end == kOpenEnd: "bytes=first-"
  std::size_t first_endpoint = 0;    // where to begin; the others follow in order, cyclic
  bool only_first_endpoint = false;  // no failover inside this call
  bool is_spare = false;  // only with connections nobody else needs (http::ClientRequest::is_spare), one try
  bool upstream_only = false;  // no member's word will do: the answer opens what is here for others as well
  Deadline deadline = Deadline::never();  // for the head of the answer, over all endpoints and retries
  // Called whenever the attempt moved on (see net::DialRequest::progress; a token or a redirect answered
  // too). May be empty; only notes the moment. Tag checks tell a slow path from a dead one by it.
  std::function<void()> progress;
};
inline constexpr ByteCount kOpenEnd = ~ByteCount{0};

// How long upstream is waited for where there is something else to answer with: what is here, or what members
// of the site know (design.md §3.1 step 3).
inline constexpr Duration kWithoutProgress = std::chrono::seconds(1);
inline constexpr Duration kInAll = std::chrono::seconds(10);

struct FetchResponse {
  int status = 200;  // 200 or 206; other statuses are Errors
  http::Headers headers;
  std::size_t endpoint = 0;   // index in target->endpoints
  std::string endpoint_name;  // "https://registry-1.docker.io", for logs and messages
  // Where in the object the body begins and ends. An upstream that ignored Range: {0, total}.
  ByteRange body_range{0, kOpenEnd};       // end == kOpenEnd: not known (no length was given)
  std::optional<ByteCount> total;          // size of the whole object, if the answer told
  bool ranges_supported = false;           // 206, or Accept-Ranges: bytes
  std::unique_ptr<http::BodyReader> body;  // at its end at once for head_only
  // Not empty: no upstream said this but a member of the site (proxy/site_fetcher), as upstream told it then.
  std::string member = {};
  std::int64_t checked_at = 0;  // unix seconds, with `member`; 0: it was imported there
  bool authenticated = false;   // the node's credentials were used (class node, not open)
};

class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // Answers with a 200 or 206 that is a registry's (no HTML, no Content-Encoding), or an Error:
  //   not_found      every endpoint that answered gave a registry's own 404, and none failed otherwise
  //   denied         401/403 after the token flow (Error::status)
  //   upstream_*     as the last and most telling endpoint failed; the sentence names endpoint and cause
  //   refused_by_policy, overloaded, range_unsatisfiable (416)
  // Dropping the Ticket aborts the request. Never retries once a body byte has been handed out: that
  // is the download's business.
  virtual Ticket fetch(FetchRequest request, Done<FetchResponse> done) = 0;
};

}  // namespace layerd::upstream
