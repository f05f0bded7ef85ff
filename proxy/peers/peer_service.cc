#include "proxy/peers/peer_service.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/net/peer_card.h"
#include "proxy/peers/peer_stream_handler.h"
#include "proxy/peers/peer_text.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostGuests = 8192;
constexpr std::size_t kMostTold = 512;
constexpr Duration kTellAgain = 10min;

Error bad(std::string message) { return {Errc::invalid_request, std::move(message)}; }

int status_of(const Error& error) {
  switch (error.code) {
    case Errc::invalid_request:
      return 400;
    case Errc::not_found:
      return 404;
    case Errc::denied:
    case Errc::refused_by_policy:
      return 403;
    case Errc::range_unsatisfiable:
      return 416;
    default:
      return 503;
  }
}

std::string_view note_of(const http::Service::Summary& summary, std::string_view name) {
  for (const auto& [key, value] : *summary.notes)
    if (key == name) return value;
  return {};
}

}  // namespace

http::ServerLimits PeerServiceLimits::server_limits() {
  http::ServerLimits limits;
  limits.connections = 2048;
  limits.idle = 75s;  // longer than the other end keeps one
  limits.head = 5s;
  limits.send_stall = 30s;
  limits.linger = 1s;
  limits.discarded_body = limits.kept_body = kMostMessage;
  return limits;
}

PeerService::PeerService(Loop& loop, net::PeerIdentity& identity, Desk& desk, Traffic& traffic,
                         Metrics& metrics, PeerServiceLimits limits)
    : loop_(loop),
      identity_(identity),
      desk_(desk),
      traffic_(traffic),
      metrics_(metrics),
      sent_(metrics.counter("layerd_peers_sent_bytes_total", "Bytes of blobs that we sent to members.")),
      streams_gauge_(metrics.gauge("layerd_peers_streams", "Streams to members that run now.")),
      limits_(limits),
      upload_(loop),
      server_(std::make_unique<http::Server>(loop, *this, unseen_, limits.server)) {}

PeerService::~PeerService() = default;

http::ResponseHead PeerService::head(int status, std::string reason) const {
  http::ResponseHead head;
  head.status = status;
  head.reason = std::move(reason);
  head.headers.add(kPeerHeader, text_of(Calling{kVersion, identity_.own(), identity_.site()}));
  return head;
}

void PeerService::refuse(http::Exchange& exchange, const Error& why, int status) {
  auto answer = head(status != 0 ? status : status_of(why), printable(why.message));
  if (why.retry_after) answer.headers.add("Retry-After", std::to_string(why.retry_after->count()));
  exchange.note("err", printable(why.message));
  exchange.respond(std::move(answer), {});
}

// Who asks; nothing: it was refused and answered.
std::optional<std::string> PeerService::admit(http::Exchange& exchange) {
  const auto refused = [&](const Error& why, int status = 0) {
    refuse(exchange, why, status);
    return std::nullopt;
  };
  net::PeerCard* card = exchange.card();
  if (!card) return refused({Errc::denied, "nobody is known on this connection"});
  const auto calling = parse_calling(exchange.request().headers.get(kPeerHeader).value_or(""));
  if (!calling) return refused(bad("the header Layerd-Peer does not say who asks"));
  exchange.note("member", calling->id.empty() ? card->id : calling->id);
  const bool is_other_path = exchange.request().target.compare(0, kPrefix.size(), kPrefix) != 0;
  if (calling->version != kVersion || card->version != kVersion)
    return refused(bad(fmt::format("this member speaks version {} of the protocol, not {}", kVersion,
                                   calling->version != kVersion ? calling->version : card->version)),
                   426);
  if (calling->site != identity_.site())
    return refused({Errc::denied, fmt::format("this member is of the site \"{}\", not of \"{}\"",
                                              identity_.site(), calling->site)});
  if (calling->id == identity_.own())
    return refused({Errc::denied, fmt::format("{} is this member itself", calling->id)});
  if (card->id.empty()) {  // a certificate's member says here who it is, once for the connection
    if (auto checked = net::check_plausible(*card, calling->id); !checked) return refused(checked.error());
    card->id = calling->id;
    card->site = calling->site;
  }
  if (card->id != calling->id)
    return refused({Errc::denied, fmt::format("this connection is {}'s, not {}'s", card->id, calling->id)});
  if (is_other_path) return refused({Errc::not_found, "no such thing is asked for between members"});
  return card->id;
}

PeerService::GuestPtr PeerService::guest_of(const std::string& id) {
  if (guests_.size() >= kMostGuests)
    std::erase_if(guests_, [](const auto& one) { return one.second.use_count() == 1; });
  auto& guest = guests_[id];
  if (!guest) {
    guest = std::make_shared<Guest>();
    guest->traffic = traffic_.of(id);
    guest->reader = ++readers_;
    guest->tokens = 2 * limits_.requests_per_second;
    guest->filled = loop_.now();
  }
  return guest;
}

bool PeerService::is_within_rate(Guest& guest) {
  const TimePoint now = loop_.now();
  const double passed = std::chrono::duration<double>(now - std::exchange(guest.filled, now)).count();
  guest.tokens =
      std::min(2 * limits_.requests_per_second, guest.tokens + passed * limits_.requests_per_second);
  if (guest.tokens < 1) return false;
  guest.tokens -= 1;
  return true;
}

std::unique_ptr<http::Handler> PeerService::serve(http::Exchange& exchange) {
  const auto from = admit(exchange);
  if (!from) return nullptr;
  const auto guest = guest_of(*from);
  guest->traffic->seen = loop_.now();
  ++guest->traffic->answers;
  if (!is_within_rate(*guest)) {
    Error error{Errc::overloaded, "this member was asked too often"};
    error.retry_after = 1s;
    refuse(exchange, error, 429);
    return nullptr;
  }
  const http::RequestHead& request = exchange.request();
  const std::string_view what = std::string_view(request.target).substr(kPrefix.size());
  if (what.starts_with("blob?") && request.method == "GET") return serve_blob(exchange, *from);
  if (request.method == "POST") {
    serve_message(exchange, *from, what);
  } else {
    refuse(exchange, {Errc::not_found, "no such thing is asked for between members"});
  }
  return nullptr;
}

template <class Message, class Answer>
void PeerService::answer(http::Exchange& exchange, Result<Message> message, Answer answer) {
  if (!message) return refuse(exchange, bad(message.error().message));
  const std::string text = answer(*message);
  auto response = head(text.empty() ? 204 : 200);
  if (!text.empty()) response.headers.add("Content-Type", "application/json");
  exchange.respond(std::move(response), text);
}

void PeerService::serve_message(http::Exchange& exchange, const std::string& from, std::string_view kind) {
  const auto length =
      registry::parse_digits(exchange.request().headers.get("Content-Length").value_or("")).value_or(0);
  if (length > kMostMessage) return refuse(exchange, bad("the message is too long"), 413);
  const std::string_view body = exchange.request_body();
  exchange.note("kind", printable(kind, 16));
  if (kind == "ask")
    return answer(exchange, parse_ask(body),
                  [&](const Ask& ask) { return text_of(desk_.on_ask(from, ask)); });
  if ((kind == "probe" || kind == "who" || kind == "recall") && !desk_.may_ask(from)) {
    Error why{Errc::overloaded, "this member asks too often"};
    why.retry_after = 1s;
    return refuse(exchange, why);
  }
  if (kind == "probe")
    return answer(exchange, parse_probe(body),
                  [&](const Probe& probe) { return text_of(desk_.on_probe(from, probe)); });
  if (kind == "who")
    return answer(exchange, parse_who(body),
                  [&](const Who& who) { return text_of(desk_.on_who(from, who)); });
  if (kind == "recall")
    return answer(exchange, parse_recall(body),
                  [&](const Recall& recall) { return text_of(desk_.on_recall(from, recall)); });
  if (kind == "tell")
    return answer(exchange, parse_tell(body), [&](const Tell& tell) {
      desk_.on_tell(from, tell);
      return std::string();
    });
  refuse(exchange, {Errc::not_found, "no such thing is asked for between members"});
}

std::unique_ptr<http::Handler> PeerService::serve_blob(http::Exchange& exchange, const std::string& from) {
  exchange.note("kind", "blob");
  const http::RequestHead& request = exchange.request();
  auto unit = parse_blob_target(request.target);
  const auto range = parse_range(request.headers.get("Range").value_or(""));
  auto path = parse_path(request.headers.get(kPathHeader).value_or(""));
  Error why = bad("");
  if (!unit) {
    why = unit.error();
  } else if (!range) {
    why.message = "the header Range does not say which bytes are wanted";
  } else if (!path) {
    why.message = "the header Layerd-Path is no list of members";
  } else if (!unit->whole && (unit_of(range->first) != unit->unit || unit_of(range->end - 1) != unit->unit)) {
    why.message = "the range does not lie in the unit";
  } else {
    const GuestPtr guest = guest_of(from);
    if (guest->streams < limits_.streams)
      return std::make_unique<Stream>(*this, exchange, guest, from,
                                      UnitGet{std::move(*unit), *range, std::move(*path)});
    why = {Errc::overloaded, fmt::format("{} streams to this member run already", limits_.streams)};
    why.retry_after = 1s;
  }
  refuse(exchange, why);
  return nullptr;
}

void PeerService::ended(const Summary& summary) {
  const std::string_view noted = note_of(summary, "kind");
  const std::string_view kind = noted.empty() ? "refused" : noted;
  metrics_
      .counter("layerd_peers_answers_total", "Answers to members, by what they asked for and its status.",
               {{"kind", std::string(kind == "blob" || kind == "ask" || kind == "probe" || kind == "who" ||
                                             kind == "recall" || kind == "tell" || kind == "refused"
                                         ? kind
                                         : "refused")},
                {"status", std::to_string(summary.status)}})
      .add();
  const std::string_view own_fault = note_of(summary, "fault");
  const bool is_refusal =
      summary.status >= 400 && summary.status != 404 && summary.status != 429 && summary.status != 503;
  LogLevel level = own_fault.empty() && !is_refusal ? LogLevel::debug : LogLevel::warn;
  if (is_refusal) {  // a member of another version asks again and again
    const TimePoint now = loop_.now();
    if (told_.size() >= kMostTold) told_.clear();
    auto [place, is_new] =
        told_.try_emplace(fmt::format("{} {}", note_of(summary, "member"), summary.status), now + kTellAgain);
    if (!is_new && place->second > now) level = LogLevel::debug;
    if (place->second <= now) place->second = now + kTellAgain;
  }
  if (!log::enabled(level)) return;
  LogLine line(level, "peer_answer");
  for (const auto& [name, value] : *summary.notes) line.field(name, value);
  line.field("status", summary.status).field("bytes", summary.body_bytes);
  line.field("total_ms", static_cast<std::int64_t>(summary.total_seconds * 1000));
  if (summary.peer) line.field("peer", summary.peer->host);
  if (!summary.complete) line.field("complete", false);
  if (!summary.error.empty() && own_fault.empty()) line.field("err", summary.error);
}

}  // namespace layerd::peers
