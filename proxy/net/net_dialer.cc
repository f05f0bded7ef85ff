#include "proxy/net/net_dialer.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "proxy/net/address.h"
#include "proxy/net/foreign_names.h"
#include "proxy/net/proxy_tunnel.h"
#include "proxy/net/tcp_stream.h"
#include "proxy/net/tls_stream.h"
#include "runtime/ledger.h"

namespace layerd::net {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRememberWinner = 10min;
constexpr std::size_t kMostWinners = 1024;

}  // namespace

// One dial: resolve -> connect -> [TLS with the proxy -> tunnel] -> context -> handshake.
struct NetDialer::Dial final : Pending<ByteStreamPtr> {
  enum class Stage {
    resolving,         // the look-up runs
    connecting,        // race_ runs
    securing_a_proxy,  // TLS with an https:// proxy
    tunnelling,        // tunnel_ runs
    securing,          // the context is fetched, then the handshake runs
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
    tunnel.reset();
    tls.reset();
    plain.reset();
  }
  void start();
  std::optional<Error> refused_behind_proxy();
  void resolved(Result<std::vector<Address>> addresses);
  void connected(Result<Connected> connection);
  void secure_proxy(Result<TlsContextPtr> context);
  void proxy_secured(Result<Ok> result);
  void through();
  void get_context();
  void secure(Result<TlsContextPtr> context);
  void shaken(Result<Ok> result);
  bool was_led_astray(const Error& error) const;
  void late();
  void moved_on() const {
    if (request.progress) request.progress();
  }
  // Calls out.
  void end(Result<ByteStreamPtr> result) {
    limit.reset();
    answer(std::move(result));
  }
  // The same; what kept us from the proxy is its failure, whatever the layer below called it.
  void fail_at_proxy(Error error) {
    error.message = fmt::format("the proxy {} cannot be used: {}", request.proxy->str(), error.message);
    error.diagnosis = "proxy_failed";
    end(std::move(error));
  }

  NetDialer& owner;
  DialRequest request;
  Stage stage = Stage::resolving;
  std::unique_ptr<ConnectRace> race;
  ByteStreamPtr plain;  // not yet TLS with the host
  std::unique_ptr<TlsStream> tls;
  std::unique_ptr<ProxyTunnel> tunnel;
  Ticket step;   // the look-up, the context, the handshake
  Ticket limit;  // the deadline
  LedgerEntry entry;
};

void NetDialer::Dial::start() {
  const Deadline deadline = request.deadline.sooner(Deadline::in(owner.loop_.now(), owner.settings_.most));
  limit = owner.loop_.at(deadline, "dial deadline", [this] { late(); });
  if (request.report && request.proxy) request.report->proxy = request.proxy->str();
  if (auto refused = request.proxy ? refused_behind_proxy() : std::nullopt) {
    step = owner.loop_.post([this, error = std::move(*refused)] { end(error); });
    return;
  }
  step = owner.resolver_.lookup(request.proxy ? request.proxy->host : request.host,
                                [this](Result<std::vector<Address>> found) { resolved(std::move(found)); });
}

// The proxy looks names up, so that of a name we cannot tell where it leads: there its own rules count.
// An address is refused as without a proxy.
std::optional<Error> NetDialer::Dial::refused_behind_proxy() {
  const auto address = parse_address(request.host, request.port);
  if (!address) return std::nullopt;
  auto allowed = owner.rules_.permitted(request, {*address});
  if (allowed) return std::nullopt;
  return std::move(allowed).error();
}

void NetDialer::Dial::resolved(Result<std::vector<Address>> addresses) {
  if (!addresses)
    return request.proxy ? fail_at_proxy(std::move(addresses).error()) : end(std::move(addresses).error());
  DialRequest next = request;
  if (request.proxy) {
    next.host = request.proxy->host;
    next.port = request.proxy->port;
    next.policy = AddressPolicy::any;
  }
  for (Address& address : *addresses) address.port = next.port;
  auto allowed = owner.rules_.permitted(next, *addresses);
  if (!allowed) return end(std::move(allowed).error());
  moved_on();
  stage = Stage::connecting;
  auto order = owner.in_turns(next.host, std::move(*allowed));
  if (request.report) request.report->addresses = order;
  race = std::make_unique<ConnectRace>(owner.loop_, std::move(order), owner.settings_.next_address,
                                       owner.settings_.route);
  race->start([this](Result<Connected> connection) { connected(std::move(connection)); });
}

void NetDialer::Dial::connected(Result<Connected> connection) {
  if (!connection) {
    Error error = std::move(connection).error();
    if (request.proxy) return fail_at_proxy(std::move(error));
    error.message = fmt::format("cannot connect to {}: {}", request.host, error.message);
    return end(std::move(error));
  }
  moved_on();
  owner.remember(request.proxy ? request.proxy->host : request.host, connection->peer.is_ipv6);
  if (request.report) request.report->connected = connection->peer;
  plain = std::make_unique<TcpStream>(owner.loop_, owner.workers_, std::move(connection->fd),
                                      std::move(connection->peer), std::move(connection->local));
  if (!request.proxy || !request.proxy->tls) return through();
  stage = Stage::securing_a_proxy;
  step = owner.contexts_.get(request.proxy->tls_settings ? *request.proxy->tls_settings : TlsSettings{},
                             [this](Result<TlsContextPtr> context) { secure_proxy(std::move(context)); });
}

void NetDialer::Dial::secure_proxy(Result<TlsContextPtr> context) {
  if (!context) return fail_at_proxy(std::move(context).error());
  const Proxy& proxy = *request.proxy;
  const bool is_renamed = proxy.tls_settings && !proxy.tls_settings->server_name.empty();
  tls = std::make_unique<TlsStream>(owner.loop_, owner.workers_, std::move(plain), std::move(*context),
                                    is_renamed ? proxy.tls_settings->server_name : proxy.host, proxy.port);
  if (request.report) tls->begin_anew();
  step = tls->handshake([this](Result<Ok> result) { proxy_secured(std::move(result)); });
}

void NetDialer::Dial::proxy_secured(Result<Ok> result) {
  if (request.report) request.report->proxy_tls = tls->peer_certificates();
  if (!result) return fail_at_proxy(std::move(result).error());
  moved_on();
  plain = std::move(tls);
  through();
}

// Connected with the host, or with the proxy in front of it.
void NetDialer::Dial::through() {
  if (!request.tls) return end(std::move(plain));
  if (!request.proxy) return get_context();
  stage = Stage::tunnelling;
  tunnel = std::make_unique<ProxyTunnel>(*plain, *request.proxy, request.host, request.port);
  tunnel->start([this](Result<Ok> opened) {
    auto ended = std::move(tunnel);
    if (!opened) return end(std::move(opened).error());
    moved_on();
    get_context();
  });
}

void NetDialer::Dial::get_context() {
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
  if (request.report) tls->begin_anew();
  step = tls->handshake([this](Result<Ok> result) { shaken(std::move(result)); });
}

void NetDialer::Dial::shaken(Result<Ok> result) {
  if (request.report) request.report->tls = tls->peer_certificates();
  if (!result) {
    Error error = std::move(result).error();
    if (was_led_astray(error)) {
      error.diagnosis = "dns_suspicious";
      error.message += "; DNS, or something on the way, leads to somebody else's server";
    }
    if (request.proxy) error.message += fmt::format(" (through the proxy {})", request.proxy->str());
    return end(std::move(error));
  }
  moved_on();
  end(ByteStreamPtr(std::move(tls)));
}

// A certificate that is good for somebody of quite another name, at an address that DNS gave.
bool NetDialer::Dial::was_led_astray(const Error& error) const {
  if (error.diagnosis != "tls_name_mismatch" || request.proxy) return false;
  if (!request.tls_settings.server_name.empty() || !owner.resolver_.is_asked_in_dns(request.host))
    return false;
  const auto peer = tls->peer_certificates();
  return peer && !peer->chain.empty() && are_foreign(peer->chain.front().names, request.host);
}

void NetDialer::Dial::late() {
  Error error{Errc::upstream_unreachable, "", 0, 0, "connect_timeout", {}};
  const std::string proxy = request.proxy ? request.proxy->str() : "";
  switch (stage) {
    case Stage::resolving:
      error.diagnosis = "dns_timeout";
      error.message = fmt::format("DNS gave no answer for {} in time", proxy.empty() ? request.host : proxy);
      break;
    case Stage::connecting:
      error.message = fmt::format("cannot connect to {}: no answer from {} in time",
                                  proxy.empty() ? request.host : proxy, race->tried());
      break;
    case Stage::securing_a_proxy:
      error.message = fmt::format("TLS with the proxy {}: the handshake did not end in time", proxy);
      break;
    case Stage::tunnelling:
      error.message =
          fmt::format("the proxy {} did not answer CONNECT {}:{} in time", proxy, request.host, request.port);
      break;
    case Stage::securing:
      error.code = Errc::upstream_timeout;
      error.diagnosis = "tls_timeout";
      error.message = fmt::format("TLS with {}: the handshake did not end in time", request.host);
      break;
  }
  if (request.proxy && stage != Stage::securing) error.diagnosis = "proxy_failed";
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
