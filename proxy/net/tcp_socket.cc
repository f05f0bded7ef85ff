#include "proxy/net/tcp_socket.h"

#include <sys/socket.h>

#include <cerrno>

namespace layerd::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kFirstGuess = 4_KiB;
constexpr std::size_t kMostGuess = 256_KiB;
constexpr std::size_t kMostDiscarded = 1_MiB;
constexpr Duration kLingerTime = 2s;

}  // namespace

struct TcpSocket::Read final : Pending<Bytes> {
  Read(Done<Bytes> done, Loop& loop, std::size_t most)
      : Pending(std::move(done)), max(most), entry(loop.ledger(), "socket read", {}, loop.now()) {}
  std::size_t max;
  LedgerEntry entry;
};

struct TcpSocket::Write final : Pending<Ok> {
  Write(Done<Ok> done, Loop& loop)
      : Pending(std::move(done)), entry(loop.ledger(), "socket write", {}, loop.now()) {}
  LedgerEntry entry;
};

TcpSocket::TcpSocket(UvLoop& loop, Workers& workers, Fd fd, std::shared_ptr<void> seat)
    : loop_(loop),
      seat_(std::move(seat)),
      fd_(std::move(fd)),
      queue_(workers, [this] { on_ready(Poller::kWritable); }),
      guess_(kFirstGuess),
      poller_(loop, fd_.get(), [this](int events) { on_ready(events); }) {}

Ticket TcpSocket::read(std::size_t max, Done<Bytes> done) {
  LAYERD_ON_LOOP(loop_);
  LAYERD_CHECK(!read_ || !read_->wanted());
  read_ = std::make_shared<Read>(std::move(done), loop_, std::max<std::size_t>(max, 1));
  // Level-triggered: what is there already shows in the next turn.
  poller_.watch(poller_.watched() | Poller::kReadable);
  return Ticket(read_);
}

Ticket TcpSocket::write(Bytes bytes, Done<Ok> done) {
  auto waiter = std::make_shared<Write>(std::move(done), loop_);
  queue_.push(std::move(bytes), waiter);
  Sent sent;
  flush(sent);
  answer_later(std::move(sent));
  return Ticket(waiter);
}

Ticket TcpSocket::send_file(FilePtr file, ByteRange range, bool more_follows, Done<Ok> done) {
  auto waiter = std::make_shared<Write>(std::move(done), loop_);
  queue_.push(std::move(file), range, more_follows, waiter);
  Sent sent;
  flush(sent);
  answer_later(std::move(sent));
  return Ticket(waiter);
}

void TcpSocket::write_detached(Bytes bytes) {
  queue_.push(std::move(bytes), nullptr);
  Sent sent;
  flush(sent);
  answer_later(std::move(sent));
}

void TcpSocket::shut_down() {
  fin_wanted_ = true;
  Sent sent;
  flush(sent);
  answer_later(std::move(sent));
}

// A start function must have returned before the answer comes.
void TcpSocket::answer_later(Sent sent) {
  if (sent.empty()) return;
  loop_.post_detached([sent = std::move(sent)]() mutable { sent.answer(); });
}

void TcpSocket::flush(Sent& sent) {
  const auto state = queue_.flush(fd_.get(), sent);
  if (state == SendQueue::State::failed) is_broken_ = true;
  // While a worker reads the file the socket is writable all the time.
  if (state == SendQueue::State::cold) poller_.watch(poller_.watched() & ~Poller::kWritable);
  const bool wait = state == SendQueue::State::full || state == SendQueue::State::yield;
  // Once armed the socket stays watched until an event finds nothing to send: changing it is dear.
  if (wait) poller_.watch(poller_.watched() | Poller::kWritable);
  if (state == SendQueue::State::empty && fin_wanted_ && !fin_sent_) {
    fin_sent_ = true;
    ::shutdown(fd_.get(), SHUT_WR);
  }
}

void TcpSocket::on_ready(int events) {
  Sent sent;
  if (events & Poller::kWritable) {
    const bool idle = queue_.empty();
    flush(sent);
    if (idle) poller_.watch(poller_.watched() & ~Poller::kWritable);
  }
  if (ended_) {
    if (events & Poller::kReadable) discard();
    if (is_broken_ || (has_ended_ && queue_.empty()) || discarded_ >= kMostDiscarded) end_linger();
    return;
  }
  std::shared_ptr<Read> reader;
  std::optional<Result<Bytes>> got;
  if (events & Poller::kReadable) {
    if (read_ && read_->wanted()) {
      got = receive(read_->max);
      if (got) reader = std::move(read_);
    } else {
      poller_.watch(poller_.watched() & ~Poller::kReadable);
    }
  }
  // Nothing of ours is touched from here on.
  sent.answer();
  if (reader) reader->answer(std::move(*got));
}

// Nothing if the socket had nothing after all.
std::optional<Result<Bytes>> TcpSocket::receive(std::size_t max) {
  Bytes bytes(std::min(max, guess_));
  ssize_t n = 0;
  do {
    n = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return std::nullopt;
  if (n < 0) {
    is_broken_ = true;
    return Result<Bytes>(
        errno_error("the connection broke while receiving", errno, Errc::upstream_unreachable));
  }
  const auto size = static_cast<std::size_t>(n);
  if (size == 0) has_ended_ = true;
  if (size == bytes.size()) {
    guess_ = std::min(guess_ * 2, kMostGuess);
  } else if (size < guess_ / 4) {
    guess_ = std::max(guess_ / 2, kFirstGuess);
  }
  // A small piece does not hold a large buffer.
  if (size < bytes.size() / 4) return Result<Bytes>(Bytes::copy_of({bytes.data(), size}));
  bytes.truncate(size);
  return Result<Bytes>(std::move(bytes));
}

void TcpSocket::linger(Callback<void()> ended) {
  ended_ = std::move(ended);
  read_.reset();
  queue_.drop_files();
  fin_wanted_ = true;
  linger_time_ = loop_.after(kLingerTime, "socket close", [this] { end_linger(); });
  Sent sent;
  flush(sent);
  poller_.watch(poller_.watched() | Poller::kReadable);
}

// Reads what the peer still sends, so that the kernel has no reason for a reset.
void TcpSocket::discard() {
  char scratch[16 << 10];
  const ssize_t n = ::recv(fd_.get(), scratch, sizeof scratch, MSG_DONTWAIT);
  if (n > 0) {
    discarded_ += static_cast<std::size_t>(n);
  } else if (n == 0) {
    has_ended_ = true;
    poller_.watch(poller_.watched() & ~Poller::kReadable);
  } else if (errno != EAGAIN && errno != EINTR) {
    is_broken_ = true;
  }
}

// Destroys this.
void TcpSocket::end_linger() {
  auto ended = std::move(ended_);
  ended();
}

}  // namespace layerd::net
