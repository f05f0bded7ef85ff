#include "proxy/net/net_dialer.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "proxy/net/tcp_stream.h"
#include "proxy/net/tls_stream.h"
#include "runtime/ledger.h"

namespace layerd::net {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRememberWinner = 10min;
constexpr std::size_t kMostWinners = 1024;

}  // namespace

// One dial: resolve -> connect -> context -> handshake.
struct NetDialer::Dial final : Pending<ByteStreamPtr> {
  enum class Stage {
    resolving,   // the look-up runs
    connecting,  // race_ runs
    securing,    // the context is fetched, then the handshake runs
  };

  Dial(Done<ByteStreamPtr> done, NetDialer& dialer, DialRequest what)
      : Pending(std::move(done)),
        owner(dialer),
        request(std::move(what)),
        entry(owner.loop_.ledger(), "dial", fmt::format("{}:{}", request.host, request.port),
              owner.loop_.now()) {}

  void on_cancel() noexcept override { drop(); }
  void drop() {
    step.reset();
    limit.reset();
    race.reset();
    tls.reset();
    plain.reset();
  }
  void start();
  void resolved(Result<std::vector<Address>> addresses);
  void connected(Result<Connected> connection);
  void secure(Result<TlsContextPtr> context);
  void shaken(Result<Ok> result);
  void late();
  void moved_on() const {
    if (request.progress) request.progress();
  }
  // Calls out.
  void end(Result<ByteStreamPtr> result) {
    limit.reset();
    answer(std::move(result));
  }

  NetDialer& owner;
  DialRequest request;
  Stage stage = Stage::resolving;
  std::unique_ptr<ConnectRace> race;
  ByteStreamPtr plain;
  std::unique_ptr<TlsStream> tls;
  Ticket step;   // the look-up, the context, the handshake
  Ticket limit;  // the deadline
  LedgerEntry entry;
};

void NetDialer::Dial::start() {
  const Deadline deadline = request.deadline.sooner(Deadline::in(owner.loop_.now(), owner.settings_.most));
  limit = owner.loop_.at(deadline, "dial deadline", [this] { late(); });
  step = owner.resolver_.lookup(request.host,
                                [this](Result<std::vector<Address>> found) { resolved(std::move(found)); });
}

void NetDialer::Dial::resolved(Result<std::vector<Address>> addresses) {
  if (!addresses) return end(std::move(addresses).error());
  for (Address& address : *addresses) address.port = request.port;
  auto allowed = owner.rules_.permitted(request, *addresses);
  if (!allowed) return end(std::move(allowed).error());
  moved_on();
  stage = Stage::connecting;
  race = std::make_unique<ConnectRace>(owner.loop_, owner.in_turns(request.host, std::move(*allowed)),
                                       owner.settings_.next_address, owner.settings_.route);
  race->start([this](Result<Connected> connection) { connected(std::move(connection)); });
}

void NetDialer::Dial::connected(Result<Connected> connection) {
  if (!connection) {
    Error error = std::move(connection).error();
    error.message = fmt::format("cannot connect to {}: {}", request.host, error.message);
    return end(std::move(error));
  }
  moved_on();
  owner.remember(request.host, connection->peer.is_ipv6);
  plain = std::make_unique<TcpStream>(owner.loop_, owner.workers_, std::move(connection->fd),
                                      std::move(connection->peer), std::move(connection->local));
  if (!request.tls) return end(std::move(plain));
  stage = Stage::securing;
  step = owner.contexts_.get(request.tls_settings,
                             [this](Result<TlsContextPtr> context) { secure(std::move(context)); });
}

void NetDialer::Dial::secure(Result<TlsContextPtr> context) {
  if (!context) return end(std::move(context).error());
  const std::string& name =
      request.tls_settings.server_name.empty() ? request.host : request.tls_settings.server_name;
  tls = std::make_unique<TlsStream>(owner.loop_, owner.workers_, std::move(plain), std::move(*context), name,
                                    request.port);
  step = tls->handshake([this](Result<Ok> result) { shaken(std::move(result)); });
}

void NetDialer::Dial::shaken(Result<Ok> result) {
  if (!result) return end(std::move(result).error());
  moved_on();
  end(ByteStreamPtr(std::move(tls)));
}

void NetDialer::Dial::late() {
  Error error{Errc::upstream_unreachable, "", 0, 0, "connect_timeout", {}};
  switch (stage) {
    case Stage::resolving:
      error.diagnosis = "dns_timeout";
      error.message = fmt::format("DNS gave no answer for {} in time", request.host);
      break;
    case Stage::connecting:
      error.message =
          fmt::format("cannot connect to {}: no answer from {} in time", request.host, race->tried());
      break;
    case Stage::securing:
      error.code = Errc::upstream_timeout;
      error.diagnosis = "tls_timeout";
      error.message = fmt::format("TLS with {}: the handshake did not end in time", request.host);
      break;
  }
  drop();
  answer(std::move(error));
}

NetDialer::NetDialer(UvLoop& loop, Workers& workers, Resolver& resolver, TlsContexts& contexts,
                     DialerSettings settings)
    : loop_(loop),
      workers_(workers),
      resolver_(resolver),
      contexts_(contexts),
      settings_(std::move(settings)),
      rules_(loop) {}

Ticket NetDialer::dial(const DialRequest& request, Done<ByteStreamPtr> done) {
  LAYERD_ON_LOOP(loop_);
  auto dial = std::make_shared<Dial>(std::move(done), *this, request);
  dial->start();
  return Ticket(dial);
}

std::vector<Address> NetDialer::in_turns(const std::string& host, std::vector<Address> addresses) const {
  const auto won = winners_.find(host);
  const bool is_known = won != winners_.end() && loop_.now() < won->second.expires;
  const bool first_family = is_known ? won->second.is_ipv6 : addresses.front().is_ipv6;
  const auto middle = std::stable_partition(addresses.begin(), addresses.end(), [&](const Address& address) {
    return address.is_ipv6 == first_family;
  });
  std::vector<Address> mixed;
  auto a = addresses.begin(), b = middle;
  while (a != middle || b != addresses.end()) {
    if (a != middle) mixed.push_back(std::move(*a++));
    if (b != addresses.end()) mixed.push_back(std::move(*b++));
  }
  return mixed;
}

void NetDialer::remember(const std::string& host, bool is_ipv6) {
  if (winners_.size() >= kMostWinners) winners_.clear();
  winners_[host] = {is_ipv6, loop_.now() + kRememberWinner};
}

}  // namespace layerd::net
