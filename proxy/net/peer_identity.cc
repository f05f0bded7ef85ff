#include "proxy/net/peer_identity.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/net/peer_stream.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr Duration kPatience = std::chrono::milliseconds(100);

}  // namespace

PeerIdentity::PeerIdentity(Loop& loop, Workers& workers, PeerIdentitySettings settings, std::string own_id,
                           Duration look_again)
    : loop_(loop),
      workers_(workers),
      settings_(std::move(settings)),
      own_(std::move(own_id)),
      look_again_(look_again) {
  connections_->begun = [this] {
    if (!tick_.held()) tick();
  };
}

PeerIdentity::~PeerIdentity() { connections_->begun = nullptr; }

Result<Ok> PeerIdentity::load() {
  auto built = PeerTrust::build(settings_);
  if (!built) {
    fault_ = built.error().message;
    return std::move(built).error();
  }
  trust_ = std::move(*built);
  fault_.clear();
  checked_ = loop_.now();
  return Ok{};
}

void PeerIdentity::configure(PeerIdentitySettings settings) {
  if (settings == settings_) return;
  settings_ = std::move(settings);
  job_.reset();
  look();
}

std::string PeerIdentity::describe() const {
  if (!trust_) return "nothing";
  std::string text;
  if (!trust_->secrets().empty()) text = "site secret " + trust_->secrets().front().name();
  if (trust_->secrets().size() > 1) text += fmt::format(" (and {} more)", trust_->secrets().size() - 1);
  if (trust_->has_certificates()) {
    if (!text.empty()) text += ", ";
    text += "certificates of " + trust_->settings().ca_file;
  }
  return text;
}

Ticket PeerIdentity::trust(Done<PeerTrustPtr> done) {
  LAYERD_ON_LOOP(loop_);
  auto waiter = std::make_shared<Waiter>(std::move(done));
  if (trust_ && !job_.held() && checked_ && loop_.now() - *checked_ < look_again_) {
    loop_.post_detached([waiter, trust = trust_] { waiter->answer(trust); });
  } else {
    waiting_.push_back(waiter);
    if (!job_.held()) look();
    if (trust_ && !patience_.held())
      patience_ = loop_.after(kPatience, "peer files", [this] { answer_waiting(); });
  }
  return Ticket(waiter);
}

void PeerIdentity::look() {
  job_ = workers_.run<PeerTrustPtr>(
      "peer files",
      [settings = settings_, old = trust_]() -> Result<PeerTrustPtr> {
        if (old && old->settings() == settings && old->is_current()) return old;
        return PeerTrust::build(settings);
      },
      [this](Result<PeerTrustPtr> result) { looked(std::move(result)); });
}

void PeerIdentity::looked(Result<PeerTrustPtr> result) {
  job_.reset();
  checked_ = loop_.now();
  if (result) {
    const bool is_new = trust_ != *result;
    trust_ = std::move(*result);
    fault_.clear();
    if (is_new) LogLine(LogLevel::info, "peers_trust").field("shown", describe());
    if (is_new && changed_) changed_();
  } else if (std::exchange(fault_, result.error().message) != result.error().message) {
    LogLine(LogLevel::warn, "peers_trust")
        .field("err", fault_)
        .field("using", trust_ ? "the old files" : "nothing: no member is admitted");
  }
  if (trust_) review();  // what counted may have run out meanwhile
  answer_waiting();
}

void PeerIdentity::answer_waiting() {
  patience_.reset();
  const auto waiting = std::exchange(waiting_, {});
  for (const auto& waiter : waiting)
    waiter->answer(trust_ ? Result<PeerTrustPtr>(trust_) : Result<PeerTrustPtr>(Errc::config, fault_));
}

// Connections whose ground is gone. Nobody is called from in here.
void PeerIdentity::review() {
  for (PeerStream* stream : connections_->all) {
    const std::string why = trust_->verdict_on(stream->ground(), loop_.wall_now());
    if (!why.empty()) stream->revoke(why);
  }
}

void PeerIdentity::tick() {
  tick_.reset();
  if (connections_->all.empty()) return;
  tick_ = loop_.after(look_again_, "peer files", [this] {
    if (!job_.held()) look();
    tick();
  });
}

}  // namespace layerd::net
