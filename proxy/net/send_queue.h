// SendQueue: what waits to leave through one socket, in order: bytes, and ranges of files that leave
// by sendfile(2). It makes the system calls; when to call flush() is the stream's business.
//
// The loop never waits for a disk: before a window of a file is sent, its pages are looked for in the
// page cache, and a worker reads them first when they are not there. Loop thread.
#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/file.h"
#include "runtime/workers.h"

namespace layerd::net {

using SendWaiter = std::shared_ptr<Pending<Ok>>;  // null: nobody waits

// Writes that ended, to be answered as the last thing: the callbacks may destroy everybody.
class Sent {
 public:
  void add(SendWaiter waiter, std::optional<Error> error = std::nullopt) {
    if (waiter) entries_.emplace_back(std::move(waiter), std::move(error));
  }
  bool empty() const { return entries_.empty(); }
  void answer() {
    for (auto& [waiter, error] : entries_) waiter->answer(error ? Result<Ok>(*error) : Result<Ok>(Ok{}));
  }

 private:
  std::vector<std::pair<SendWaiter, std::optional<Error>>> entries_;
};

// sendfile(2) does not say which side failed: what only a connection can have is the connection's, all else
// (EIO, EUCLEAN, EBADMSG, ESTALE and whatever file systems answer) is the file's.
bool is_of_connection(int sys_errno);

class SendQueue {
 public:
  enum class State {
    empty,   // all of it is with the kernel
    full,    // the kernel takes no more: wait until the socket is writable
    yield,   // this turn's share is used up: go on in the next turn
    cold,    // a worker is reading the file; `warmed` will be called
    failed,  // the connection or the file broke; error() says how; nothing will ever be sent again
  };

  // warmed: call flush() again.
  SendQueue(Workers& workers, Callback<void()> warmed) : workers_(workers), warmed_(std::move(warmed)) {}

  void push(Bytes bytes, SendWaiter waiter);
  // more_follows: as ByteStream::send_file.
  void push(FilePtr file, ByteRange range, bool more_follows, SendWaiter waiter);
  State flush(int fd, Sent& sent);
  // Sends at once what fits, queueing nothing; 0 if something waits already.
  std::size_t try_send(int fd, ByteView bytes);
  bool empty() const { return items_.empty(); }
  const Error& error() const { return *error_; }
  // Forgets the first file and all that follows it, unanswered: for streams that are closed.
  void drop_files();

 private:
  struct Item {
    Bytes bytes;
    FilePtr file;
    ByteRange range;
    bool more_follows = false;
    ByteCount warm_until = 0;  // pages below this are known to be in memory
    SendWaiter waiter;
  };

  State send_bytes(int fd, Sent& sent);
  State send_file(int fd, ByteCount& share, Sent& sent);
  void warm_up(Item& item);
  State fail(Error error, Sent& sent);
  void cork(int fd, bool on);

  Workers& workers_;
  Callback<void()> warmed_;
  std::deque<Item> items_;
  std::optional<Error> error_;
  Ticket warming_;
  bool is_corked_ = false;
  bool more_follows_ = false;  // than the last item that left
};

}  // namespace layerd::net
