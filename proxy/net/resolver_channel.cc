#include "proxy/net/resolver_channel.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <fmt/core.h>
#include <sys/time.h>

#include <algorithm>

#include "runtime/ledger.h"

namespace layerd::net {
namespace {

DnsOutcome outcome_of(int status) {
  switch (status) {
    case ARES_SUCCESS:
      return DnsOutcome::found;
    case ARES_ENODATA:
      return DnsOutcome::no_data;
    case ARES_ENOTFOUND:
      return DnsOutcome::not_found;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
      return DnsOutcome::timed_out;
    case ARES_ESERVFAIL:
      return DnsOutcome::servfail;
    case ARES_EREFUSED:
      return DnsOutcome::refused;
    default:
      return DnsOutcome::broken;
  }
}

int record_type(DnsType type) {
  if (type == DnsType::srv) return ns_t_srv;
  return type == DnsType::a ? ns_t_a : ns_t_aaaa;
}

}  // namespace

// c-ares names it until it has called back, whatever became of the asker and of the server object.
struct DnsServer::Question final : Pending<DnsAnswer> {
  Question(Done<DnsAnswer> done, DnsServer& asked, std::string name, DnsType what)
      : Pending(std::move(done)),
        server(&asked),
        loop(asked.loop_),
        type(what),
        entry(loop.ledger(), "DNS question", std::move(name), loop.now()) {}
  DnsServer* server;
  UvLoop& loop;
  DnsType type;
  LedgerEntry entry;
};

DnsServer::DnsServer(UvLoop& loop, std::string server, Duration timeout)
    : loop_(loop), name_(std::move(server)) {
  ares_options options{};
  // Sockets are not kept open: a new one has a new random port, which who would forge an answer must guess.
  options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
  options.timeout = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
  options.tries = 2;
  options.sock_state_cb = &on_socket;
  options.sock_state_cb_data = this;
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_QUERY_CACHE
  options.qcache_max_ttl = 0;  // the cache is ours: it is bounded and tells failures apart
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  if (ares_init_options(&channel_, &options, mask) != ARES_SUCCESS) channel_ = nullptr;
  if (channel_ && ares_set_servers_ports_csv(channel_, name_.c_str()) != ARES_SUCCESS) {
    ares_destroy(channel_);
    channel_ = nullptr;
  }
}

DnsServer::~DnsServer() {
  if (channel_) ares_destroy(channel_);
}

Ticket DnsServer::ask(const std::string& name, DnsType type, Done<DnsAnswer> done) {
  LAYERD_ON_LOOP(loop_);
  auto question = std::make_shared<Question>(std::move(done), *this, name, type);
  if (!channel_) {
    loop_.post_detached([question] { question->answer(DnsAnswer{}); });
    return Ticket(question);
  }
  auto held = std::make_unique<std::shared_ptr<Question>>(question);
  ares_query(channel_, name.c_str(), ns_c_in, record_type(type), &on_answer, held.release());
  rearm();
  return Ticket(question);
}

// Also called from within ares_query: the answer is always posted.
void DnsServer::on_answer(void* arg, int status, int, unsigned char* bytes, int size) noexcept {
  std::unique_ptr<std::shared_ptr<Question>> held(static_cast<std::shared_ptr<Question>*>(arg));
  std::shared_ptr<Question> question = std::move(*held);
  if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) return;
  DnsAnswer answer;
  answer.outcome = outcome_of(status);
  if (bytes && size >= 12 && (status == ARES_SUCCESS || answer.outcome == DnsOutcome::broken)) {
    // With NOCHECKRESP the server's own word is in the header.
    const int rcode = bytes[3] & 0xf;
    if (rcode == ns_r_noerror)
      answer = parse_dns_answer(question->type, bytes, static_cast<std::size_t>(size));
    if (rcode == ns_r_servfail) answer.outcome = DnsOutcome::servfail;
    if (rcode == ns_r_refused || rcode == ns_r_notimpl) answer.outcome = DnsOutcome::refused;
    if (rcode == ns_r_nxdomain) answer.outcome = DnsOutcome::not_found;
  }
  question->server->note(answer.outcome);
  UvLoop& loop = question->loop;
  loop.post_detached(
      [question, answer = std::move(answer)]() mutable { question->answer(std::move(answer)); });
}

void DnsServer::note(DnsOutcome outcome) {
  is_silent_ = outcome == DnsOutcome::timed_out;
  if (is_silent_) silent_since_ = loop_.now();
}

void DnsServer::on_socket(void* arg, int fd, int readable, int writable) noexcept {
  auto* self = static_cast<DnsServer*>(arg);
  if (!readable && !writable) {
    self->sockets_.erase(fd);
    return;
  }
  auto& poller = self->sockets_[fd];
  if (!poller)
    poller =
        std::make_unique<Poller>(self->loop_, fd, [self, fd](int events) { self->on_ready(fd, events); });
  poller->watch((readable ? Poller::kReadable : 0) | (writable ? Poller::kWritable : 0));
}

void DnsServer::on_ready(int fd, int events) {
  ares_process_fd(channel_, events & Poller::kReadable ? fd : ARES_SOCKET_BAD,
                  events & Poller::kWritable ? fd : ARES_SOCKET_BAD);
  rearm();
}

void DnsServer::rearm() {
  timeval wait{};
  if (!ares_timeout(channel_, nullptr, &wait)) {
    timer_.reset();
    return;
  }
  const Duration left = std::chrono::seconds(wait.tv_sec) + std::chrono::microseconds(wait.tv_usec);
  timer_ = loop_.after(left + std::chrono::milliseconds(1), "DNS retry", [this] {
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm();
  });
}

}  // namespace layerd::net
