#include "proxy/net/peer_listener.h"

#include <algorithm>
#include <utility>

#include "proxy/net/peer_stream.h"
#include "runtime/ledger.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

// What may wait in the kernel of a connection's bytes: enough to keep it busy, no more.
constexpr int kUnsent = 256 * 1024;
constexpr Duration kTellAgain = std::chrono::minutes(10);
constexpr std::size_t kMostTold = 256;

Counter& refused_counter(Metrics& metrics, std::string_view why) {
  return metrics.counter("layerd_peers_refused_total",
                         "Connections to the port for members that were not admitted.",
                         {{"why", std::string(why)}});
}

}  // namespace

struct PeerListener::Shaking {
  Shaking(Loop& loop, ByteStreamPtr stream)
      : plain(std::move(stream)),
        host(plain->peer().host),
        entry(loop.ledger(), "handshake of a member", plain->peer().str(), loop.now()) {}
  ByteStreamPtr plain;
  std::unique_ptr<PeerStream> secure;
  const std::string host;
  Ticket step;
  Ticket patience;
  LedgerEntry entry;
};

PeerListener::PeerListener(UvLoop& loop, Workers& workers, PeerIdentity& identity, Metrics& metrics,
                           Callback<void(ByteStreamPtr)> admitted, PeerListenerLimits limits)
    : loop_(loop),
      workers_(workers),
      identity_(identity),
      metrics_(metrics),
      admitted_count_(
          metrics.counter("layerd_peers_admitted_total", "Connections of members that were admitted.")),
      admitted_(std::move(admitted)),
      limits_(limits),
      listener_(loop, workers, {limits.most, 1024, kUnsent},
                [this](Accepted accepted) { on_accepted(std::move(accepted)); }) {}

PeerListener::~PeerListener() = default;

Result<Ok> PeerListener::check() const {
  if (identity_.is_usable()) return Ok{};
  return Error{Errc::config, identity_.fault().empty()
                                 ? "no port for members is opened without a site secret or certificates"
                                 : "no port for members is opened: " + identity_.fault()};
}

Result<Address> PeerListener::listen(const Address& address) {
  if (auto usable = check(); !usable) return std::move(usable).error();
  return listener_.listen(address);
}

Result<Address> PeerListener::adopt(int fd) {
  if (auto usable = check(); !usable) return std::move(usable).error();
  return listener_.adopt(fd);
}

void PeerListener::on_accepted(Accepted accepted) {
  if (!may_begin(accepted.stream->peer().host)) return refused_counter(metrics_, "crowd").add();
  make_room(accepted.stream->peer().host);
  auto& one = *shaking_.emplace_back(std::make_unique<Shaking>(loop_, std::move(accepted.stream)));
  one.patience = loop_.after(limits_.patience, "handshake of a member", [this, &one] {
    Error error{Errc::upstream_timeout, "it did not say who it is in time"};
    error.diagnosis = "peer_timeout";
    refuse(one, error);
  });
  one.step = identity_.trust([this, &one](Result<PeerTrustPtr> trust) { secure(one, std::move(trust)); });
}

bool PeerListener::may_begin(const std::string& host) {
  const TimePoint now = loop_.now();
  const auto left_of = [this, now](const Allowance& one) {
    const double seconds = std::chrono::duration<double>(now - one.at).count();
    return std::min(limits_.begun_at_once, one.left + seconds * limits_.begun_per_second);
  };
  if (allowances_.size() >= kMostTold)
    std::erase_if(allowances_, [&](const auto& one) { return left_of(one.second) >= limits_.begun_at_once; });
  if (allowances_.size() >= kMostTold && !allowances_.contains(host)) return true;  // shaking bounds the rest
  Allowance& one = allowances_.try_emplace(host, Allowance{limits_.begun_at_once, now}).first->second;
  one = {left_of(one), now};
  if (one.left < 1) return false;
  one.left -= 1;
  return true;
}

void PeerListener::make_room(const std::string& host) {
  const auto same =
      std::count_if(shaking_.begin(), shaking_.end(), [&host](const auto& one) { return one->host == host; });
  const bool is_full = shaking_.size() >= limits_.shaking;
  if (static_cast<std::size_t>(same) < limits_.per_address && !is_full) return;
  const auto oldest = std::find_if(shaking_.begin(), shaking_.end(), [&](const auto& one) {
    return static_cast<std::size_t>(same) < limits_.per_address || one->host == host;
  });
  refused_counter(metrics_, "crowd").add();
  shaking_.erase(oldest);
}

void PeerListener::secure(Shaking& one, Result<PeerTrustPtr> trust) {
  if (!trust) return refuse(one, trust.error());
  one.secure = std::make_unique<PeerStream>(loop_, workers_, std::move(one.plain), std::move(*trust),
                                            PeerStream::Role::answers, identity_.own(), identity_.registry());
  one.step = one.secure->handshake([this, &one](Result<Ok> result) { shaken(one, std::move(result)); });
}

void PeerListener::shaken(Shaking& one, Result<Ok> result) {
  if (!result) return refuse(one, result.error());
  if (is_crowd(one.host)) {
    Error error{Errc::overloaded, "it has too many connections to us already"};
    error.diagnosis = "peer_crowd";
    return refuse(one, error);
  }
  ByteStreamPtr stream = std::move(one.secure);
  drop(one);
  admitted_count_.add();
  admitted_(std::move(stream));
}

bool PeerListener::is_crowd(const std::string& host) const {
  const auto& all = identity_.registry()->all;
  const auto count = std::count_if(all.begin(), all.end(), [&host](PeerStream* stream) {
    return stream->role() == PeerStream::Role::answers && stream->peer().host == host;
  });
  return static_cast<std::size_t>(count) > limits_.per_member;
}

void PeerListener::refuse(Shaking& one, const Error& why) {
  const std::string_view reason = why.diagnosis_code();
  refused_counter(metrics_, reason.starts_with("peer_") ? reason : "broken").add();
  tell(one.host, why);
  drop(one);
}

void PeerListener::drop(Shaking& one) {
  std::erase_if(shaking_, [&one](const auto& other) { return other.get() == &one; });
}

// A stranger may knock as often as it likes: each address and reason is told once in a while.
void PeerListener::tell(const std::string& host, const Error& why) {
  const bool is_grave = why.code == Errc::denied || why.code == Errc::upstream_protocol;
  if (!is_grave && !log::enabled(LogLevel::debug)) return;
  const TimePoint now = loop_.now();
  if (told_.size() >= kMostTold) std::erase_if(told_, [now](const auto& one) { return one.second <= now; });
  if (told_.size() >= kMostTold) return;
  auto [place, is_new] = told_.try_emplace(host + " " + std::string(why.diagnosis_code()), now + kTellAgain);
  if (!is_new && place->second > now) return;
  place->second = now + kTellAgain;
  LogLine(is_grave ? LogLevel::warn : LogLevel::debug, "peer_refused")
      .field("peer", host)
      .field("why", why.diagnosis_code())
      .field("err", why.message);
}

}  // namespace layerd::net
