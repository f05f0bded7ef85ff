#include "proxy/peers/http_wire.h"

#include <fmt/core.h>

#include "proxy/peers/peer_text.h"
#include "proxy/registry/range.h"
#include "proxy/registry/text.h"
#include "runtime/answer_later.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

Error protocol_error(const Member& to, std::string_view what, const char* diagnosis = "peer_protocol") {
  Error error{Errc::upstream_protocol, fmt::format("member {}: {}", to.id, what)};
  error.diagnosis = diagnosis;
  return error;
}

Result<Ok> parse_nothing(std::string_view) { return Ok{}; }

// Counts what comes.
class CountedBody final : public http::BodyReader {
 public:
  CountedBody(std::unique_ptr<http::BodyReader> body, Counter& bytes, MemberTrafficPtr member, Loop& loop)
      : body_(std::move(body)), bytes_(bytes), member_(std::move(member)), loop_(loop) {}
  // `this` is safe in the callback: the reader that calls it is ours.
  Ticket read(std::size_t max, Done<Bytes> done) override {
    return body_->read(max, [this, done = std::move(done)](Result<Bytes> got) mutable {
      if (got) {
        bytes_.add(got->size());
        member_->received += got->size();
        member_->seen = loop_.now();
      } else {
        ++member_->faults;
        member_->last_fault = got.error().message;
      }
      done(std::move(got));
    });
  }
  std::optional<ByteCount> length() const override { return body_->length(); }

 private:
  std::unique_ptr<http::BodyReader> body_;
  Counter& bytes_;
  const MemberTrafficPtr member_;
  Loop& loop_;
};

}  // namespace

// A small message and its whole answer.
template <class T>
struct HttpWire::Call final : Pending<T> {
  using Parse = Result<T> (*)(std::string_view);
  Call(HttpWire& wire_, const Member& to_, const char* kind_, Parse parse_, Done<T> done)
      : Pending<T>(std::move(done)),
        wire(wire_),
        to(to_),
        kind(kind_),
        parse(parse_),
        begun(wire_.loop_.now()),
        member(wire_.traffic_.of(to_.id)) {}

  void on_cancel() noexcept override { drop(); }
  void drop() {
    step.reset();
    limit.reset();
    body.reset();
  }
  void start(std::string message) {
    http::ClientRequest request = wire.request_to(to, "POST", std::string(kPrefix) + kind);
    request.head.headers.add("Content-Type", "application/json");
    request.body = std::move(message);
    request.may_repeat = true;
    limit = wire.loop_.after(wire.settings_.answer, "answer of a member", [this] {
      fail(Error{Errc::upstream_timeout, fmt::format("member {} did not answer in time", to.id)});
    });
    step = wire.client_.start(std::move(request), [this](Result<http::ClientResponse> response) {
      if (!response) return fail(std::move(response).error());
      if (auto refused = wire.refusal(to, response->head, *member)) return fail(std::move(*refused));
      body = std::move(response->body);
      more();
    });
  }
  void more() {
    step = body->read(16_KiB, [this](Result<Bytes> got) {
      if (!got) return fail(std::move(got).error());
      text.append(got->view());
      if (text.size() > kMostMessage) return fail(protocol_error(to, "its answer is too long"));
      got->empty() ? end() : more();
    });
  }
  void end() {
    auto answer = parse(text);
    if (!answer) return fail(protocol_error(to, "its answer is none: " + answer.error().message));
    const Duration took = wire.loop_.now() - begun;
    member->latency = member->latency == Duration::zero() ? took : (7 * member->latency + took) / 8;
    drop();
    this->answer(std::move(answer));
  }
  void fail(Error error) {
    error = wire.failed(to, kind, std::move(error), *member);
    drop();
    this->answer(std::move(error));
  }

  HttpWire& wire;
  const Member to;
  const char* const kind;
  const Parse parse;
  const TimePoint begun;
  const MemberTrafficPtr member;
  std::unique_ptr<http::BodyReader> body;
  std::string text;
  Ticket step, limit;
};

// A stretch of a unit: answered with its head.
struct HttpWire::Get final : Pending<UnitAnswer> {
  Get(HttpWire& wire_, const Member& to_, ByteRange range_, Done<UnitAnswer> done)
      : Pending(std::move(done)), wire(wire_), to(to_), range(range_), member(wire_.traffic_.of(to_.id)) {}
  void on_cancel() noexcept override { step.reset(); }
  void start(const UnitGet& get) {
    http::ClientRequest request = wire.request_to(to, "GET", blob_target(get.unit));
    request.head.headers.add("Range", range_text(range));
    if (!get.path.empty()) request.head.headers.add(kPathHeader, path_text(get.path));
    step = wire.client_.start(std::move(request), [this](Result<http::ClientResponse> response) {
      auto answer = response ? read(std::move(*response)) : Result<UnitAnswer>(std::move(response).error());
      step.reset();
      if (!answer) return this->answer(wire.failed(to, "blob", answer.error(), *member));
      this->answer(std::move(answer));
    });
  }
  Result<UnitAnswer> read(http::ClientResponse response) {
    if (auto refused = wire.refusal(to, response.head, *member)) return std::move(*refused);
    const http::Headers& headers = response.head.headers;
    const auto given = registry::parse_content_range(headers.get("Content-Range").value_or(""));
    const auto path = parse_path(headers.get(kPathHeader).value_or(""));
    if (response.head.status != 206 || !given || !given->range || !given->size)
      return protocol_error(to, "it does not say which bytes it sends");
    if (!path) return protocol_error(to, "it does not say where it has them from");
    const ByteRange wanted{range.first, std::min(range.end, *given->size)};
    if (*given->range != wanted || response.body->length() != wanted.size())
      return protocol_error(to, "it sends other bytes than were asked for");
    UnitAnswer answer;
    answer.total = *given->size;
    answer.range = wanted;
    answer.rights = parse_rights(headers.get(kRightsHeader).value_or(""));
    answer.path = *path;
    answer.body = std::make_unique<CountedBody>(std::move(response.body), wire.received_, member, wire.loop_);
    return answer;
  }

  HttpWire& wire;
  const Member to;
  const ByteRange range;
  const MemberTrafficPtr member;
  Ticket step;
};

HttpWire::HttpWire(UvLoop& loop, Workers& workers, net::PeerIdentity& identity, Traffic& traffic,
                   Metrics& metrics, HttpWireSettings settings)
    : loop_(loop),
      identity_(identity),
      traffic_(traffic),
      metrics_(metrics),
      received_(metrics.counter("layerd_peers_received_bytes_total", "Bytes of blobs that members sent us.")),
      settings_(std::move(settings)),
      dialer_(loop, workers, identity, settings_.dialer),
      client_(loop, dialer_, unseen_,
              {settings_.connections_per_member, settings_.idle_connections, settings_.idle}) {}

HttpWire::~HttpWire() = default;

http::ClientRequest HttpWire::request_to(const Member& to, std::string method, std::string target) const {
  http::ClientRequest request;
  request.where.host = to.address.host;
  request.where.port = to.address.port;
  request.where.policy = net::AddressPolicy::any;
  request.where.deadline = request.head_deadline = Deadline::in(loop_.now(), settings_.answer);
  request.stall = settings_.stall;
  request.head.method = std::move(method);
  request.head.target = std::move(target);
  request.head.headers.add(kPeerHeader, calling_);
  return request;
}

// Connections speak for one member: when we are another now, new ones are made.
void HttpWire::check_calling() {
  std::string calling = text_of(Calling{kVersion, identity_.own(), identity_.site()});
  if (calling == calling_) return;
  calling_ = std::move(calling);
  client_.retire_connections();
}

// Why an answer is none; nothing: it is one.
std::optional<Error> HttpWire::refusal(const Member& to, const http::ResponseHead& head,
                                       MemberTraffic& member) {
  const auto calling = parse_calling(head.headers.get(kPeerHeader).value_or(""));
  const std::string reason = printable(head.reason);
  if (!calling) return protocol_error(to, "what answers there is no member");
  if (calling->version != kVersion || head.status == 426)
    return protocol_error(
        to, fmt::format("it speaks version {} of the protocol, we speak {}", calling->version, kVersion),
        "peer_version");
  member.seen = loop_.now();
  member.is_refused = false;
  if (calling->id != to.id && member.calls_itself != calling->id) {
    member.calls_itself = calling->id;
    LogLine(LogLevel::warn, "peer_other_id").field("member", to.id).field("calls_itself", calling->id);
  }
  if (head.status == 200 || head.status == 204 || head.status == 206) return std::nullopt;
  Error error{Errc::upstream_protocol, fmt::format("member {}: {}", to.id, reason)};
  error.status = head.status;
  if (head.status == 403 || head.status == 401) error.code = Errc::denied;
  if (head.status == 404) error.code = Errc::not_found;
  if (head.status == 429 || head.status == 503) {
    error.code = Errc::overloaded;
    if (const auto wait = registry::parse_digits(head.headers.get("Retry-After").value_or("")); wait)
      error.retry_after = std::chrono::seconds(std::min<std::uint64_t>(*wait, 3600));
  }
  return error;
}

// What the lower floors say, in the words of Wire; counted and remembered.
Error HttpWire::failed(const Member& to, const char* kind, Error error, MemberTraffic& member) {
  if (error.code == Errc::config) {  // no secret, no address: nothing that the member did
    error.code = Errc::denied;
    error.diagnosis = kNotAsked;
    return error;
  }
  const bool is_of_peer = error.diagnosis.starts_with("peer_");
  if (error.code == Errc::upstream_unreachable && is_of_peer && error.diagnosis != "peer_closed")
    error.code = Errc::denied;
  if (error.code == Errc::canceled || error.code == Errc::truncated || error.code == Errc::local_io)
    error.code = Errc::upstream_unreachable;
  // Its idle connections lead to where this one led.
  if (error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout)
    client_.retire_connections(request_to(to, "GET", "/").where);
  metrics_
      .counter("layerd_peers_failed_questions_total",
               "Questions to members that were not answered, by reason.",
               {{"kind", kind}, {"why", std::string(name_of(error.code))}})
      .add();
  if (error.code == Errc::not_found || error.code == Errc::overloaded) return error;
  ++member.faults;
  member.last_fault = error.message;
  // A debug line for each question; that somebody is no member is told once.
  const bool is_news = error.code == Errc::denied && is_of_peer && !std::exchange(member.is_refused, true);
  LogLine(is_news ? LogLevel::warn : LogLevel::debug, "peer_question")
      .field("member", to.id)
      .field("kind", kind)
      .field("why", error.diagnosis_code())
      .field("err", error.message);
  return error;
}

template <class T>
Ticket HttpWire::post(const Member& to, const char* kind, std::string text,
                      Result<T> (*parse)(std::string_view), Done<T> done) {
  LAYERD_ON_LOOP(loop_);
  check_calling();
  auto call = std::make_shared<Call<T>>(*this, to, kind, parse, std::move(done));
  ++call->member->questions;
  call->start(std::move(text));
  return Ticket(call);
}

Ticket HttpWire::ask(const Member& to, const Ask& ask, Done<AskAnswer> done) {
  return post<AskAnswer>(to, "ask", text_of(ask), &parse_ask_answer, std::move(done));
}
Ticket HttpWire::probe(const Member& to, const Probe& probe, Done<ProbeAnswer> done) {
  return post<ProbeAnswer>(to, "probe", text_of(probe), &parse_probe_answer, std::move(done));
}
Ticket HttpWire::who(const Member& to, const Who& who, Done<WhoAnswer> done) {
  return post<WhoAnswer>(to, "who", text_of(who), &parse_who_answer, std::move(done));
}
Ticket HttpWire::recall(const Member& to, const Recall& recall, Done<RecallAnswer> done) {
  return post<RecallAnswer>(to, "recall", text_of(recall), &parse_recall_answer, std::move(done));
}
Ticket HttpWire::tell(const Member& to, const Tell& tell, Done<Ok> done) {
  return post<Ok>(to, "tell", text_of(tell), &parse_nothing, std::move(done));
}

Ticket HttpWire::get(const Member& to, const UnitGet& get, Done<UnitAnswer> done) {
  LAYERD_ON_LOOP(loop_);
  // What members said goes into it: that it is nothing is an answer, and no fault of ours.
  if (get.range.empty()) {
    Error error{Errc::invalid_request, "no bytes of a blob are asked of member " + to.id};
    return answer_later<UnitAnswer>(loop_, std::move(error), std::move(done));
  }
  check_calling();
  auto running = std::make_shared<Get>(*this, to, get.range, std::move(done));
  ++running->member->questions;
  running->start(get);
  return Ticket(running);
}

}  // namespace layerd::peers
