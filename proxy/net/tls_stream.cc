#include "proxy/net/tls_stream.h"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/net/address.h"
#include "proxy/net/certificate_facts.h"
#include "runtime/ledger.h"

namespace layerd::net {
namespace {

constexpr std::size_t kInput = 64_KiB;      // of one read of the lower stream: four full records
constexpr std::size_t kFilePiece = 64_KiB;  // of send_file
constexpr int kMostShown = 16;              // certificates of a chain

TlsStream::Wire& wire_of(BIO* bio) { return *static_cast<TlsStream::Wire*>(BIO_get_data(bio)); }

int wire_read(BIO* bio, char* into, int size) noexcept {
  TlsStream::Wire& wire = wire_of(bio);
  BIO_clear_retry_flags(bio);
  if (wire.in.empty()) {
    if (wire.has_ended) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t n = std::min(wire.in.size(), static_cast<std::size_t>(size));
  std::memcpy(into, wire.in.data(), n);
  wire.in.drop_front(n);
  if (wire.in.empty()) wire.in = Bytes();
  return static_cast<int>(n);
}

int wire_write(BIO* bio, const char* from, int size) noexcept {
  BIO_clear_retry_flags(bio);
  if (size > 0) wire_of(bio).out.push_back(Bytes::copy_of({from, static_cast<std::size_t>(size)}));
  return size;
}

long wire_control(BIO* bio, int command, long, void*) noexcept {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return wire_of(bio).has_ended && wire_of(bio).in.empty();
  return 0;
}

std::vector<CertificateFacts> chain_facts(const STACK_OF(X509) * chain) {
  std::vector<CertificateFacts> facts;
  for (int i = 0; chain && i < std::min(sk_X509_num(chain), kMostShown); ++i)
    facts.push_back(facts_of(sk_X509_value(chain, i)));
  return facts;
}

std::string without_dot(std::string name) {
  if (!name.empty() && name.back() == '.') name.pop_back();
  return name;
}

}  // namespace

bio_method_st* new_tls_transport() {
  BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "layerd stream");
  BIO_meth_set_read(method, &wire_read);
  BIO_meth_set_write(method, &wire_write);
  BIO_meth_set_ctrl(method, &wire_control);
  return method;
}

struct TlsStream::Read final : Pending<Bytes> {
  Read(Done<Bytes> done, Loop& loop, std::size_t most)
      : Pending(std::move(done)), max(most), entry(loop.ledger(), "TLS read", {}, loop.now()) {}
  std::size_t max;
  LedgerEntry entry;
};

struct TlsStream::Write final : Pending<Ok> {
  Write(Done<Ok> done, Loop& loop)
      : Pending(std::move(done)), entry(loop.ledger(), "TLS write", {}, loop.now()) {}
  void on_cancel() noexcept override { lower.reset(); }
  Ticket lower;
  LedgerEntry entry;
};

struct TlsStream::FileSend final : Pending<Ok> {
  FileSend(Done<Ok> done, Loop& loop, FilePtr source, ByteRange what)
      : Pending(std::move(done)),
        file(std::move(source)),
        range(what),
        entry(loop.ledger(), "TLS send file", {}, loop.now()) {}
  void on_cancel() noexcept override { step.reset(); }
  FilePtr file;
  ByteRange range;
  Ticket step;  // reading a piece, or writing it
  LedgerEntry entry;
};

TlsStream::TlsStream(Loop& loop, Workers& workers, ByteStreamPtr lower, TlsContextPtr context,
                     std::string name, std::uint16_t port)
    : loop_(loop),
      workers_(workers),
      lower_(std::move(lower)),
      context_(std::move(context)),
      name_{without_dot(std::move(name)), lower_->peer().str(), context_->minor_version()},
      session_key_(fmt::format("{}:{}", name_.name, port)),
      ssl_(SSL_new(context_->raw())) {
  LAYERD_CHECK(ssl_);
  SSL_set_app_data(ssl_, this);
  BIO* bio = BIO_new(context_->transport());
  BIO_set_data(bio, &wire_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  X509_VERIFY_PARAM* verify = SSL_get0_param(ssl_);
  // As in Go the common name never counts.
  X509_VERIFY_PARAM_set_hostflags(verify,
                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (parse_address(name_.name, 0)) {
    X509_VERIFY_PARAM_set1_ip_asc(verify, name_.name.c_str());
  } else {
    X509_VERIFY_PARAM_set1_host(verify, name_.name.c_str(), name_.name.size());
    SSL_ctrl(ssl_, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name_.name.data());
  }
  if (SSL_SESSION* session = context_->find_session(session_key_)) SSL_set_session(ssl_, session);
}

TlsStream::~TlsStream() {
  if (!broken_ && SSL_is_init_finished(ssl_)) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    enc_out(nullptr);
  }
  // Without these flags OpenSSL takes the connection for failed and spoils its session.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

int TlsStream::on_new_session(SSL* ssl, SSL_SESSION* session) noexcept {
  auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  stream->context_->remember_session(stream->session_key_, session);
  return 1;  // the reference is ours now
}

int TlsStream::on_verify(int ok, X509_STORE_CTX* store) noexcept {
  if (ok) return 1;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  if (!stream->context_->verifies()) return 1;
  if (stream->certificate_fault_) return 0;
  stream->certificate_fault_ = certificate_error(store, stream->name_, stream->loop_.wall_now());
  stream->refused_.emplace();
  stream->refused_->name = stream->name_.name;
  stream->refused_->verdict = PeerCertificates::Verdict::refused;
  stream->refused_->chain = chain_facts(X509_STORE_CTX_get0_untrusted(store));
  return 0;
}

std::optional<PeerCertificates> TlsStream::peer_certificates() const {
  if (refused_) return refused_;
  PeerCertificates peer;
  peer.name = name_.name;
  peer.chain = chain_facts(SSL_get_peer_cert_chain(ssl_));
  if (peer.chain.empty()) return std::nullopt;
  if (SSL_is_init_finished(ssl_)) peer.version = SSL_get_version(ssl_);
  const STACK_OF(X509)* verified = SSL_get0_verified_chain(ssl_);
  const int size = verified ? sk_X509_num(verified) : 0;
  if (!context_->verifies()) {
    peer.verdict = PeerCertificates::Verdict::unchecked;
  } else if (size > 0 && SSL_get_verify_result(ssl_) == X509_V_OK) {
    peer.verdict = PeerCertificates::Verdict::trusted;
    peer.authority = facts_of(sk_X509_value(verified, size - 1));
    peer.authority_source = context_->source_of(*peer.authority);
  }
  return peer;
}

bool TlsStream::was_resumed() const { return SSL_session_reused(ssl_) == 1; }
std::string TlsStream::tls_version() const { return SSL_get_version(ssl_); }

Ticket TlsStream::handshake(Done<Ok> done) {
  LAYERD_ON_LOOP(loop_);
  shaking_ = std::make_shared<Pending<Ok>>(std::move(done));
  SSL_set_connect_state(ssl_);
  kick_ = loop_.post([this] { cycle(); });
  return Ticket(shaking_);
}

bool TlsStream::has_input() const {
  return !wire_.in.empty() || wire_.has_ended || SSL_has_pending(ssl_) == 1;
}

Ticket TlsStream::read(std::size_t max, Done<Bytes> done) {
  LAYERD_CHECK(!reader_ || !reader_->wanted());
  reader_ = std::make_shared<Read>(std::move(done), loop_, std::max<std::size_t>(max, 1));
  if (broken_ || has_input()) {
    kick_ = loop_.post([this] { cycle(); });
  } else {
    enc_in();
  }
  return Ticket(reader_);
}

// Moves what can be moved. Calls out last.
void TlsStream::cycle() {
  if (shaking_) return shake();
  clear_in();
  if (!reader_ || !reader_->wanted()) return;
  auto got = clear_out(reader_->max);
  if (!got) return enc_in();
  auto reader = std::move(reader_);
  reader->answer(std::move(*got));
}

void TlsStream::shake() {
  ERR_clear_error();
  const int done = broken_ ? -1 : SSL_do_handshake(ssl_);
  const int why = broken_ ? SSL_ERROR_SYSCALL : SSL_get_error(ssl_, done);
  if (done != 1 && why == SSL_ERROR_WANT_READ) {
    enc_out(nullptr);
    return enc_in();
  }
  if (done != 1 && certificate_fault_) {
    broken_ = certificate_fault_;
  } else if (done != 1 && !broken_) {
    broken_ = handshake_error(name_, wire_.first, wire_.has_ended);
  }
  enc_out(nullptr);
  auto shaking = std::move(shaking_);
  shaking->answer(broken_ ? Result<Ok>(*broken_) : Result<Ok>(Ok{}));
}

// Nothing: OpenSSL needs more records first.
std::optional<Result<Bytes>> TlsStream::clear_out(std::size_t max) {
  if (wire_.in.empty() && broken_) return Result<Bytes>(*broken_);
  if (!has_input()) return std::nullopt;
  Bytes bytes(std::min(max, kInput));
  std::size_t total = 0, n = 0;
  ERR_clear_error();
  while (total < bytes.size() && SSL_read_ex(ssl_, bytes.data() + total, bytes.size() - total, &n) == 1)
    total += n;
  if (total > 0) {
    if (total < bytes.size() / 4) return Result<Bytes>(Bytes::copy_of({bytes.data(), total}));
    bytes.truncate(total);
    return Result<Bytes>(std::move(bytes));
  }
  const int why = SSL_get_error(ssl_, 0);
  if (why == SSL_ERROR_WANT_READ) {
    enc_out(nullptr);
    return std::nullopt;
  }
  if (why == SSL_ERROR_ZERO_RETURN) return Result<Bytes>(Bytes());
  Error error = handshake_error(name_, wire_.first, wire_.has_ended);
  if (error.diagnosis != "tls_client_certificate") error.code = Errc::upstream_protocol;
  broken_ = error;
  return Result<Bytes>(std::move(error));
}

void TlsStream::enc_in() {
  if (input_.held()) return;
  input_ = lower_->read(kInput, [this](Result<Bytes> bytes) { on_input(std::move(bytes)); });
}

void TlsStream::on_input(Result<Bytes> bytes) {
  input_.reset();
  if (!bytes) {
    broken_ = bytes.error();
    if (shaking_) {
      broken_->message = fmt::format("TLS with {} ({}): the connection was reset during the handshake: {}",
                                     name_.name, name_.address, broken_->message);
      broken_->diagnosis = "tls_handshake";
    }
  } else if (bytes->empty()) {
    wire_.has_ended = true;
  } else {
    if (wire_.first.size() < kFirstBytes)
      wire_.first.append(bytes->view().substr(0, kFirstBytes - wire_.first.size()));
    wire_.in = std::move(*bytes);
  }
  cycle();
}

// Hands what OpenSSL has produced to the lower stream; `waiter` hears when all of it is with the kernel.
void TlsStream::enc_out(std::shared_ptr<Write> waiter) {
  auto pieces = std::move(wire_.out);
  wire_.out.clear();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!waiter || i + 1 < pieces.size()) {
      lower_->write_detached(std::move(pieces[i]));
      continue;
    }
    waiter->lower = lower_->write(std::move(pieces[i]), [weak = std::weak_ptr(waiter)](Result<Ok> result) {
      if (auto held = weak.lock()) held->answer(std::move(result));
    });
  }
}

// Everything that waits, unless the peer renegotiates: then after its next record.
void TlsStream::clear_in() {
  while (!outgoing_.empty()) {
    Outgoing& next = outgoing_.front();
    std::size_t n = 0;
    ERR_clear_error();
    if (!broken_ && SSL_write_ex(ssl_, next.bytes.data(), next.bytes.size(), &n) != 1) {
      if (SSL_get_error(ssl_, 0) == SSL_ERROR_WANT_READ) {
        enc_out(nullptr);
        return enc_in();
      }
      broken_ = handshake_error(name_, wire_.first, wire_.has_ended);
    }
    auto waiter = std::move(next.waiter);
    outgoing_.pop_front();
    if (!broken_) {
      enc_out(std::move(waiter));
    } else if (waiter) {
      loop_.post_detached([waiter, error = *broken_] { waiter->answer(error); });
    }
  }
}

Ticket TlsStream::push(Bytes bytes, std::shared_ptr<Write> waiter) {
  Ticket ticket = waiter ? Ticket(waiter) : Ticket();
  if (bytes.empty()) {
    if (waiter) loop_.post_detached([waiter] { waiter->answer(Ok{}); });
    return ticket;
  }
  outgoing_.push_back({std::move(bytes), std::move(waiter)});
  if (outgoing_.size() == 1) clear_in();
  return ticket;
}

Ticket TlsStream::write(Bytes bytes, Done<Ok> done) {
  return push(std::move(bytes), std::make_shared<Write>(std::move(done), loop_));
}

void TlsStream::write_detached(Bytes bytes) { static_cast<void>(push(std::move(bytes), nullptr)); }

Ticket TlsStream::send_file(FilePtr file, ByteRange range, bool, Done<Ok> done) {
  LAYERD_CHECK(!file_ || !file_->wanted());
  file_ = std::make_shared<FileSend>(std::move(done), loop_, std::move(file), range);
  file_->step = loop_.post([this, send = std::weak_ptr(file_)] {
    if (auto held = send.lock()) send_more(held);
  });
  return Ticket(file_);
}

void TlsStream::send_more(const std::shared_ptr<FileSend>& send) {
  if (send->range.empty()) {
    auto finished = std::move(file_);
    return finished->answer(Ok{});
  }
  const auto size = static_cast<std::size_t>(std::min<ByteCount>(kFilePiece, send->range.size()));
  if (auto piece = send->file->read_at_once(send->range.first, size))
    return send_piece(send, std::move(*piece));
  send->step = workers_.run<Bytes>(
      "file read", [file = send->file, at = send->range.first, size] { return file->read_at(at, size); },
      [this, weak = std::weak_ptr(send)](Result<Bytes> piece) {
        if (auto held = weak.lock()) send_piece(held, std::move(piece));
      });
}

void TlsStream::send_piece(const std::shared_ptr<FileSend>& send, Result<Bytes> piece) {
  if (piece && piece->empty()) {
    piece = Error{Errc::local_io, fmt::format("{} is shorter than it was", send->file->path())};
  }
  if (!piece) {
    auto failed = std::move(file_);
    return failed->answer(std::move(piece).error());
  }
  send->range.first += piece->size();
  send->step = write(std::move(*piece), [this, weak = std::weak_ptr(send)](Result<Ok> result) {
    auto held = weak.lock();
    if (!held) return;
    if (result) return send_more(held);
    auto failed = std::move(file_);
    failed->answer(std::move(result));
  });
}

void TlsStream::shut_down() {
  if (!broken_) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    enc_out(nullptr);
  }
  lower_->shut_down();
}

}  // namespace layerd::net
