#include "proxy/net/peer_dialer.h"

#include <fmt/core.h>

#include <deque>

#include "proxy/net/address.h"
#include "proxy/net/peer_stream.h"
#include "proxy/net/tcp_stream.h"
#include "runtime/answer_later.h"
#include "runtime/ledger.h"

namespace layerd::net {
namespace {

// A loop that was late sees its timers before its sockets: what came in time meanwhile gets one more turn.
constexpr Duration kTurn = std::chrono::milliseconds(20);

}  // namespace

struct PeerDialer::Line {
  std::size_t busy = 0;
  std::deque<std::weak_ptr<Dial>> waiting;
};

// One dial: place in line -> connect -> trust -> handshake.
struct PeerDialer::Dial final : Pending<ByteStreamPtr>, std::enable_shared_from_this<Dial> {
  Dial(PeerDialer& dialer, Address address_, Done<ByteStreamPtr> done)
      : Pending(std::move(done)),
        owner(dialer),
        address(std::move(address_)),
        entry(dialer.loop_.ledger(), "dial a member", address.str(), dialer.loop_.now()) {}
  ~Dial() override { leave(); }

  void on_cancel() noexcept override { drop(); }
  void drop() {
    step.reset();
    limit.reset();
    connecting.reset();
    race.reset();
    stream.reset();
    leave();
  }
  void start(Deadline deadline);
  void connect();
  void connected(Result<Connected> connection);
  void shake(Result<PeerTrustPtr> trust);
  void leave();
  void late();
  // Calls out.
  void end(Result<ByteStreamPtr> result) {
    drop();
    answer(std::move(result));
  }

  PeerDialer& owner;
  const Address address;
  bool has_place = false;
  bool has_had_turn = false;
  TimePoint begun{};
  std::unique_ptr<ConnectRace> race;
  ByteStreamPtr plain;
  std::unique_ptr<PeerStream> stream;
  Ticket step, limit, connecting;
  LedgerEntry entry;
};

void PeerDialer::Dial::start(Deadline deadline) {
  begun = owner.loop_.now();
  limit =
      owner.loop_.at(deadline.sooner(Deadline::in(begun, owner.settings_.connect + owner.settings_.hello)),
                     "dial a member", [this] { late(); });
  Line& line = owner.lines_[address.str()];
  if (line.busy >= kAtOnce) {
    line.waiting.push_back(weak_from_this());
    return;
  }
  ++line.busy;
  has_place = true;
  step = owner.loop_.post([this] { connect(); });
}

void PeerDialer::Dial::connect() {
  // Ended by us: its own time-out must not come in the same turn.
  race =
      std::make_unique<ConnectRace>(owner.loop_, std::vector{address},
                                    owner.settings_.connect + owner.settings_.hello, owner.settings_.route);
  connecting = owner.loop_.after(owner.settings_.connect, "connect to a member", [this] { late(); });
  race->start([this](Result<Connected> connection) { connected(std::move(connection)); });
}

void PeerDialer::Dial::connected(Result<Connected> connection) {
  connecting.reset();
  has_had_turn = false;
  if (!connection) return end(std::move(connection).error());
  plain = std::make_unique<TcpStream>(owner.loop_, owner.workers_, std::move(connection->fd),
                                      std::move(connection->peer), std::move(connection->local));
  step = owner.identity_.trust([this](Result<PeerTrustPtr> trust) { shake(std::move(trust)); });
}

void PeerDialer::Dial::shake(Result<PeerTrustPtr> trust) {
  if (!trust) return end(std::move(trust).error());
  if (!is_member_id(owner.identity_.own()))
    return end(Error{Errc::config, "this node does not know its own address among the members"});
  stream = std::make_unique<PeerStream>(owner.loop_, owner.workers_, std::move(plain), std::move(*trust),
                                        PeerStream::Role::dials, owner.identity_.own(),
                                        owner.identity_.registry());
  step = stream->handshake([this](Result<Ok> result) {
    if (!result) return end(std::move(result).error());
    end(ByteStreamPtr(std::move(stream)));
  });
}

// Gives the place to who has waited longest.
void PeerDialer::Dial::leave() {
  if (!std::exchange(has_place, false)) return;
  auto found = owner.lines_.find(address.str());
  Line& line = found->second;
  while (!line.waiting.empty()) {
    const auto next = line.waiting.front().lock();
    line.waiting.pop_front();
    if (!next || !next->wanted()) continue;
    next->has_place = true;
    next->step = owner.loop_.post([raw = next.get()] { raw->connect(); });
    return;
  }
  if (--line.busy == 0) owner.lines_.erase(found);
}

void PeerDialer::Dial::late() {
  if (!std::exchange(has_had_turn, true)) {
    Ticket& timer = connecting.held() ? connecting : limit;
    timer = owner.loop_.after(kTurn, "dial a member", [this] { late(); });
    return;
  }
  Error error{Errc::upstream_timeout,
              fmt::format("member {}: the handshake did not end in time", address.str())};
  error.diagnosis = "peer_timeout";
  if (connecting.held()) {
    error.code = Errc::upstream_unreachable;
    error.diagnosis = "connect_timeout";
    error.message = fmt::format("member {}: no answer to the connection", address.str());
  }
  end(std::move(error));
}

PeerDialer::PeerDialer(UvLoop& loop, Workers& workers, PeerIdentity& identity, PeerDialerSettings settings)
    : loop_(loop), workers_(workers), identity_(identity), settings_(std::move(settings)) {}

PeerDialer::~PeerDialer() = default;

// Members name each other addresses. None makes us speak to what is on this machine or on its links alone
// (design.md 3.6), unless that is where we are ourselves.
bool PeerDialer::may_dial(const Address& address) const {
  const AddressKind kind = kind_of(address);
  switch (kind) {
    case AddressKind::loopback:
    case AddressKind::link_local: {
      const auto parts = parse_host_port(identity_.own(), 0);
      const auto own = parts ? parse_address(parts->host, parts->port) : std::nullopt;
      return own && kind_of(*own) == kind;
    }
    case AddressKind::unspecified:
    case AddressKind::metadata:
    case AddressKind::multicast:
      return false;
    default:
      return true;
  }
}

Ticket PeerDialer::dial(const DialRequest& request, Done<ByteStreamPtr> done) {
  LAYERD_ON_LOOP(loop_);
  const auto address = parse_address(request.host, request.port);
  if (!address) {
    Error error{Errc::invalid_request, fmt::format("\"{}\" is no address of a member", request.host)};
    return answer_later<ByteStreamPtr>(loop_, std::move(error), std::move(done));
  }
  if (!may_dial(*address)) {
    Error error{Errc::denied, fmt::format("member {}: no address at which members are", address->str())};
    error.diagnosis = "peer_address";
    return answer_later<ByteStreamPtr>(loop_, std::move(error), std::move(done));
  }
  auto dial = std::make_shared<Dial>(*this, *address, std::move(done));
  dial->start(request.deadline);
  return Ticket(dial);
}

}  // namespace layerd::net
