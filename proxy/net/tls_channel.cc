#include "proxy/net/tls_channel.h"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/net/tls_errors.h"
#include "runtime/ledger.h"

namespace layerd::net {
namespace {

constexpr std::size_t kInput = 64_KiB;      // of one read of the lower stream: four full records
constexpr std::size_t kFilePiece = 64_KiB;  // of send_file

TlsChannel::Wire& wire_of(BIO* bio) { return *static_cast<TlsChannel::Wire*>(BIO_get_data(bio)); }

int wire_read(BIO* bio, char* into, int size) noexcept {
  TlsChannel::Wire& wire = wire_of(bio);
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

}  // namespace

bio_method_st* new_tls_transport() {
  BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "layerd stream");
  BIO_meth_set_read(method, &wire_read);
  BIO_meth_set_write(method, &wire_write);
  BIO_meth_set_ctrl(method, &wire_control);
  return method;
}

struct TlsChannel::Read final : Pending<Bytes> {
  Read(Done<Bytes> done, Loop& loop, std::size_t most)
      : Pending(std::move(done)), max(most), entry(loop.ledger(), "TLS read", {}, loop.now()) {}
  std::size_t max;
  LedgerEntry entry;
};

struct TlsChannel::Write final : Pending<Ok> {
  Write(Done<Ok> done, Loop& loop)
      : Pending(std::move(done)), entry(loop.ledger(), "TLS write", {}, loop.now()) {}
  void on_cancel() noexcept override { lower.reset(); }
  Ticket lower;
  LedgerEntry entry;
};

struct TlsChannel::FileSend final : Pending<Ok> {
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

TlsChannel::TlsChannel(Loop& loop, Workers& workers, ByteStreamPtr lower, Context context, Side side)
    : loop_(loop),
      workers_(workers),
      lower_(std::move(lower)),
      held_(std::move(context.held)),
      side_(side),
      ssl_(SSL_new(context.context)) {
  LAYERD_CHECK(ssl_);
  BIO* bio = BIO_new(context.transport);
  BIO_set_data(bio, &wire_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
}

TlsChannel::~TlsChannel() {
  if (!broken_ && SSL_is_init_finished(ssl_)) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    enc_out(nullptr);
  }
  // Without these flags OpenSSL takes the connection for failed and spoils its session.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

std::string TlsChannel::tls_version() const { return SSL_get_version(ssl_); }

Ticket TlsChannel::handshake(Done<Ok> done) {
  LAYERD_ON_LOOP(loop_);
  shaking_ = std::make_shared<Pending<Ok>>(std::move(done));
  side_ == Side::client ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
  kick_ = loop_.post([this] { cycle(); });
  return Ticket(shaking_);
}

bool TlsChannel::has_input() const {
  return !wire_.in.empty() || wire_.has_ended || SSL_has_pending(ssl_) == 1;
}

Ticket TlsChannel::read(std::size_t max, Done<Bytes> done) {
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
void TlsChannel::cycle() {
  if (shaking_) return shake();
  clear_in();
  if (!reader_ || !reader_->wanted()) return;
  auto got = clear_out(reader_->max);
  if (!got) return enc_in();
  auto reader = std::move(reader_);
  reader->answer(std::move(*got));
}

void TlsChannel::shake() {
  ERR_clear_error();
  const int done = broken_ ? -1 : SSL_do_handshake(ssl_);
  const int why = broken_ ? SSL_ERROR_SYSCALL : SSL_get_error(ssl_, done);
  if (done != 1 && why == SSL_ERROR_WANT_READ) {
    enc_out(nullptr);
    return enc_in();
  }
  if (done != 1 && !broken_) broken_ = fault_in(Phase::handshake);
  if (!broken_) broken_ = judge();
  enc_out(nullptr);
  auto shaking = std::move(shaking_);
  shaking->answer(broken_ ? Result<Ok>(*broken_) : Result<Ok>(Ok{}));
}

// Nothing: OpenSSL needs more records first.
std::optional<Result<Bytes>> TlsChannel::clear_out(std::size_t max) {
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
  Error error = fault_in(Phase::reading);
  broken_ = error;
  return Result<Bytes>(std::move(error));
}

void TlsChannel::enc_in() {
  if (input_.held()) return;
  input_ = lower_->read(kInput, [this](Result<Bytes> bytes) { on_input(std::move(bytes)); });
}

void TlsChannel::on_input(Result<Bytes> bytes) {
  input_.reset();
  if (!bytes) {
    broken_ = shaking_ ? interrupted(std::move(bytes).error()) : std::move(bytes).error();
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
void TlsChannel::enc_out(std::shared_ptr<Write> waiter) {
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
void TlsChannel::clear_in() {
  while (!outgoing_.empty()) {
    Outgoing& next = outgoing_.front();
    std::size_t n = 0;
    ERR_clear_error();
    if (!broken_ && SSL_write_ex(ssl_, next.bytes.data(), next.bytes.size(), &n) != 1) {
      if (SSL_get_error(ssl_, 0) == SSL_ERROR_WANT_READ) {
        enc_out(nullptr);
        return enc_in();
      }
      broken_ = fault_in(Phase::writing);
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

Ticket TlsChannel::push(Bytes bytes, std::shared_ptr<Write> waiter) {
  Ticket ticket = waiter ? Ticket(waiter) : Ticket();
  if (bytes.empty()) {
    if (waiter) loop_.post_detached([waiter] { waiter->answer(Ok{}); });
    return ticket;
  }
  outgoing_.push_back({std::move(bytes), std::move(waiter)});
  if (outgoing_.size() == 1) clear_in();
  return ticket;
}

Ticket TlsChannel::write(Bytes bytes, Done<Ok> done) {
  return push(std::move(bytes), std::make_shared<Write>(std::move(done), loop_));
}

void TlsChannel::write_detached(Bytes bytes) { static_cast<void>(push(std::move(bytes), nullptr)); }

Ticket TlsChannel::send_file(FilePtr file, ByteRange range, bool, Done<Ok> done) {
  LAYERD_CHECK(!file_ || !file_->wanted());
  file_ = std::make_shared<FileSend>(std::move(done), loop_, std::move(file), range);
  file_->step = loop_.post([this, send = std::weak_ptr(file_)] {
    if (auto held = send.lock()) send_more(held);
  });
  return Ticket(file_);
}

void TlsChannel::send_more(const std::shared_ptr<FileSend>& send) {
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

void TlsChannel::send_piece(const std::shared_ptr<FileSend>& send, Result<Bytes> piece) {
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

void TlsChannel::shut_down() {
  if (!broken_) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    enc_out(nullptr);
  }
  lower_->shut_down();
}

void TlsChannel::cut(Error why) {
  if (broken_) return;
  broken_ = std::move(why);
  wire_.in = Bytes();
  input_.reset();
  lower_->shut_down();
  kick_ = loop_.post([this] { cycle(); });
}

}  // namespace layerd::net
