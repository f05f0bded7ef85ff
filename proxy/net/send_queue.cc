#include "proxy/net/send_queue.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

namespace layerd::net {
namespace {

constexpr std::size_t kMaxPieces = 16;
constexpr ByteCount kShare = 4_MiB;      // of one stream in one turn of the loop
constexpr ByteCount kProbed = 4_MiB;     // looked for in the page cache at once
constexpr ByteCount kReadAhead = 2_MiB;  // read by a worker at once
constexpr ByteCount kProbeStep = 1_MiB;  // files leave the page cache in longer stretches

bool is_page_cached(int fd, ByteCount offset) {
  char byte = 0;
  iovec piece{&byte, 1};
  return preadv2(fd, &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

// A look at one page in each step; a page evicted alone in between costs one short wait.
bool is_cached(int fd, ByteRange range) {
  for (ByteCount at = range.first; at < range.end; at += kProbeStep) {
    if (!is_page_cached(fd, at)) return false;
  }
  return is_page_cached(fd, range.end - 1);
}

// Worker side.
Result<Ok> read_through(const File& file, ByteRange range) {
  posix_fadvise(file.fd(), static_cast<off_t>(range.first), static_cast<off_t>(range.size() + 2 * kReadAhead),
                POSIX_FADV_WILLNEED);
  Bytes scratch(512_KiB);
  while (!range.empty()) {
    const ssize_t n = pread(file.fd(), scratch.data(), std::min<ByteCount>(scratch.size(), range.size()),
                            static_cast<off_t>(range.first));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(fmt::format("cannot read {}", file.path()), errno);
    if (n == 0) return Error{Errc::local_io, fmt::format("{} is shorter than it was", file.path())};
    range.first += static_cast<ByteCount>(n);
  }
  return Ok{};
}

Error connection_error(int code) {
  return errno_error("the connection broke while sending", code, Errc::upstream_unreachable);
}

Error sendfile_error(File& file, int code) {
  if (is_of_connection(code)) return connection_error(code);
  file.note_read_error(code);
  return errno_error(fmt::format("cannot read {}", file.path()), code);
}

}  // namespace

bool is_of_connection(int sys_errno) {
  return sys_errno == EPIPE || sys_errno == ECONNRESET || sys_errno == ETIMEDOUT || sys_errno == ENOTCONN ||
         sys_errno == EHOSTUNREACH || sys_errno == ENETUNREACH || sys_errno == ENETDOWN;
}

void SendQueue::push(Bytes bytes, SendWaiter waiter) {
  items_.push_back({std::move(bytes), nullptr, {}, false, 0, std::move(waiter)});
}

void SendQueue::push(FilePtr file, ByteRange range, bool more_follows, SendWaiter waiter) {
  items_.push_back({Bytes(), std::move(file), range, more_follows, 0, std::move(waiter)});
}

SendQueue::State SendQueue::flush(int fd, Sent& sent) {
  if (error_) return fail(*error_, sent);
  if (warming_.held()) return State::cold;
  ByteCount share = kShare;
  while (!items_.empty()) {
    const State state = items_.front().file ? send_file(fd, share, sent) : send_bytes(fd, sent);
    if (state != State::empty) return state;
  }
  if (is_corked_ && !more_follows_) cork(fd, false);
  return State::empty;
}

// While more follows: with TCP_NODELAY each call of sendfile(2) would end in a small segment, and the
// peer would be woken and answer for it. Taking the cork out sends the rest at once. tcp(7); no socket but
// TCP knows it.
void SendQueue::cork(int fd, bool on) {
  const int value = on ? 1 : 0;
  is_corked_ = setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof value) == 0 && on;
}

// Sends the pieces of bytes at the front in one call. `empty`: go on with what follows.
SendQueue::State SendQueue::send_bytes(int fd, Sent& sent) {
  iovec pieces[kMaxPieces];
  std::size_t count = 0;
  while (count < std::min(kMaxPieces, items_.size()) && !items_[count].file) {
    pieces[count] = {items_[count].bytes.data(), items_[count].bytes.size()};
    ++count;
  }
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  const bool file_follows = count < items_.size() && items_[count].file;
  ssize_t n = 0;
  do {
    n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (file_follows ? MSG_MORE : 0));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? State::full : fail(connection_error(errno), sent);
  more_follows_ = false;
  auto left = static_cast<std::size_t>(n);
  for (; count > 0; --count) {
    Bytes& bytes = items_.front().bytes;
    if (left < bytes.size()) {
      bytes.drop_front(left);
      return State::full;
    }
    left -= bytes.size();
    sent.add(std::move(items_.front().waiter));
    items_.pop_front();
  }
  return State::empty;
}

SendQueue::State SendQueue::send_file(int fd, ByteCount& share, Sent& sent) {
  Item& item = items_.front();
  if (item.more_follows && !is_corked_) cork(fd, true);
  while (!item.range.empty()) {
    if (share == 0) return State::yield;
    if (item.range.first >= item.warm_until) {
      const ByteRange window{item.range.first, std::min(item.range.end, item.range.first + kProbed)};
      if (!is_cached(item.file->fd(), window)) {
        warm_up(item);
        return State::cold;
      }
      item.warm_until = window.end;
    }
    auto offset = static_cast<off_t>(item.range.first);
    const ByteCount most = std::min(share, item.warm_until - item.range.first);
    const ssize_t n = ::sendfile(fd, item.file->fd(), &offset, most);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return State::full;
    if (n < 0) return fail(sendfile_error(*item.file, errno), sent);
    if (n == 0)
      return fail({Errc::local_io, fmt::format("{} is shorter than it was", item.file->path())}, sent);
    item.range.first += static_cast<ByteCount>(n);
    share -= static_cast<ByteCount>(n);
    if (static_cast<ByteCount>(n) < most) return State::full;
  }
  more_follows_ = item.more_follows;
  sent.add(std::move(item.waiter));
  items_.pop_front();
  return State::empty;
}

void SendQueue::warm_up(Item& item) {
  const ByteRange window{item.range.first, std::min(item.range.end, item.range.first + kReadAhead)};
  warming_ = workers_.run<Ok>(
      "file read-ahead", [file = item.file, window] { return read_through(*file, window); },
      [this, file = item.file, end = window.end](Result<Ok> result) {
        warming_.reset();
        if (!result) {
          file->note_read_error(result.error().sys_errno);
          error_ = std::move(result).error();
        } else if (!items_.empty()) {
          // Not probed again: a kernel that cannot tell would send us round for ever.
          items_.front().warm_until = end;
        }
        warmed_();
      });
}

SendQueue::State SendQueue::fail(Error error, Sent& sent) {
  if (!error_) error_ = std::move(error);
  for (Item& item : items_) sent.add(std::move(item.waiter), error_);
  items_.clear();
  return State::failed;
}

std::size_t SendQueue::try_send(int fd, ByteView bytes) {
  if (!items_.empty() || error_) return 0;
  const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

void SendQueue::drop_files() {
  warming_.reset();
  while (!items_.empty() && items_.back().file) items_.pop_back();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!items_[i].file) continue;
    items_.resize(i);
    break;
  }
}

}  // namespace layerd::net
