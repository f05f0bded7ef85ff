#include "proxy/download_follower.h"

#include <fmt/core.h>

namespace layerd::proxy {

DownloadFollower::DownloadFollower(std::shared_ptr<Download> download) : download_(std::move(download)) {
  ++download_->parts().readers;
  download_->enter(*this);
}

DownloadFollower::~DownloadFollower() {
  for (const auto& read : reads_) read->cancel();
  for (const auto& size : sizes_) size->cancel();
  own_fetch_.reset();
  --download_->parts().readers;
  download_->leave(*this);
}

Ticket DownloadFollower::size(Done<ByteCount> done) {
  prune();
  sizes_.push_back(std::make_shared<Size>(std::move(done)));
  const auto size = sizes_.back();
  limit_patience(*size);
  advance(*size);
  return Ticket(size);
}

Ticket DownloadFollower::read(ByteCount offset, ByteCount max, Done<Bytes> done) {
  prune();
  const ByteCount most = std::min(max, download_->parts().chunk());
  reads_.push_back(std::make_shared<Read>(std::move(done), offset, most));
  const auto read = reads_.back();
  advance(*read);
  return Ticket(read);
}

// A reader of several ranges is after all that lies between them, as far as the end of the blob goes.
void DownloadFollower::want(ByteRange range) {
  want_ = want_ ? ByteRange{std::min(want_->first, range.first), std::max(want_->end, range.end)} : range;
}

FilePtr DownloadFollower::file() const {
  const auto& stored = download_->stored();
  return stored && !doom_ ? stored->file() : nullptr;
}

// Who asks while nothing comes from anywhere waits a short while only: its client has other hosts.
void DownloadFollower::limit_patience(Size& size) {
  if (!download_->trouble_since()) return;
  Download::State state = download_->state();
  if (state == Download::State::failed || state == Download::State::passing_through) return;
  auto& parts = download_->parts();
  size.patience = parts.loop.after(parts.settings.reopen, "follower: bytes again", [this, waiting = &size] {
    if (waiting->begun) return;
    finish(waiting, Error{Errc::upstream_timeout,
                          fmt::format("no bytes of {} came from any endpoint", download_->digest().str())});
  });
}

void DownloadFollower::wake() {
  settle_size();
  for (const auto& read : reads_) {
    if (read->wanted() && !read->begun) advance(*read);
  }
}

void DownloadFollower::settle_size() {
  for (const auto& size : sizes_) {
    if (size->wanted() && !size->begun) advance(*size);
  }
}

void DownloadFollower::size_confirmed(ByteCount size) {
  if (!told_size_ || *told_size_ == size) return;
  give_up({Errc::upstream_protocol, fmt::format("the upstreams disagree about the size of {}: {} or {} bytes",
                                                download_->digest().str(), *told_size_, size)});
}

void DownloadFollower::attempt_failed(const Error& why) {
  if (has_read_) return give_up(why);
  own_fetch_.reset();
  for (const auto& read : reads_) {
    read->step.reset();
    read->begun = false;
  }
}

// Bytes of an attempt that is over are no part of the next one's; here the attempt goes on for all others.
void DownloadFollower::lost(ByteRange range, const Error& why) {
  if (seen_.first < range.end && range.first < seen_.end) give_up(why);
}

void DownloadFollower::give_up(const Error& why) {
  if (!doom_) doom_ = why;
  for (const auto& read : reads_) {
    read->step.reset();
    read->begun = false;
  }
  for (const auto& size : sizes_) {
    size->step.reset();
    size->begun = false;
  }
  own_fetch_.reset();
  wake();
}

std::optional<ByteCount> DownloadFollower::waiting_at() const {
  for (const auto& read : reads_) {
    if (read->wanted() && !read->begun) return read->offset;
  }
  return std::nullopt;
}

const Error* DownloadFollower::final_error() const {
  if (doom_) return &*doom_;
  return download_->state() == Download::State::failed ? &download_->error() : nullptr;
}

void DownloadFollower::advance(Size& size) {
  if (const Error* error = final_error()) return answer_soon(size, *error);
  if (download_->state() == Download::State::passing_through && !download_->size()) {
    size.begun = true;
    size.step = own_fetch().size(
        [this, waiting = &size](Result<ByteCount> result) { finish(waiting, std::move(result)); });
    return;
  }
  if (!download_->may_tell_size() || download_->trouble_since()) return;
  answer_soon(size, *download_->size());
}

void DownloadFollower::advance(Read& read) {
  if (const Error* error = final_error()) return answer_soon(read, *error);
  if (own_fetch_) return read_through(read);
  if (download_->state() == Download::State::passing_through) return read_through(read);
  const auto size = download_->size();
  if (!size) return;
  if (read.offset >= *size) {
    return answer_soon(read, {Errc::range_unsatisfiable,
                              fmt::format("byte {} is past the end of {} bytes", read.offset, *size)});
  }
  if (download_->stored()) return read_file(read);
  if (const ByteCount count = readable(read); count > 0) read_partial(read, count);
}

// How many bytes may be given from read.offset on; 0: wait.
ByteCount DownloadFollower::readable(const Read& read) const {
  const auto& partial = download_->partial();
  if (!partial) return 0;
  const ByteCount size = *download_->size();
  ByteCount end = std::min(partial->present().run_end(read.offset), read.offset + read.max);
  const bool reaches_end = read.offset + read.max >= size || (want_ && want_->end >= size);
  if (reaches_end && !download_->is_verified()) end = std::min(end, held_from(size));
  return end > read.offset ? end - read.offset : 0;
}

void DownloadFollower::read_file(Read& read) {
  read.begun = true;
  read.step = download_->stored()->read(read.offset, read.max, [this, waiting = &read](Result<Bytes> bytes) {
    finish(waiting, std::move(bytes));
  });
}

void DownloadFollower::read_partial(Read& read, ByteCount count) {
  read.begun = true;
  auto partial = download_->partial();
  read.step = partial->read(read.offset, count, [this, partial, waiting = &read](Result<Bytes> bytes) {
    if (bytes || bytes.error().code != Errc::local_io) return finish(waiting, std::move(bytes));
    own_fetch();  // the disk does not give back what it took: this reader goes on upstream
    read_through(*waiting);
  });
}

void DownloadFollower::read_through(Read& read) {
  read.begun = true;
  read.step = own_fetch().read(read.offset, read.max, want_, [this, waiting = &read](Result<Bytes> bytes) {
    finish(waiting, std::move(bytes));
  });
}

PassThrough& DownloadFollower::own_fetch() {
  if (!own_fetch_) {
    auto& parts = download_->parts();
    parts.metrics.pass_through.add();
    own_fetch_ =
        std::make_unique<PassThrough>(parts, download_->digest(), download_->targets(), download_->partial(),
                                      download_->size(), download_->is_verified());
  }
  return *own_fetch_;
}

void DownloadFollower::answer_soon(Read& read, Error error) {
  read.begun = true;
  read.step = download_->parts().loop.post(
      [this, waiting = &read, error = std::move(error)]() mutable { finish(waiting, std::move(error)); });
}

void DownloadFollower::answer_soon(Size& size, Result<ByteCount> result) {
  size.begun = true;
  size.step = download_->parts().loop.post(
      [this, waiting = &size, result = std::move(result)]() mutable { finish(waiting, std::move(result)); });
}

// Both call out last: the reader may destroy us.
void DownloadFollower::finish(Read* read, Result<Bytes> result) {
  if (result) {
    has_read_ = true;
    const ByteRange got{read->offset, read->offset + result->size()};
    seen_ = seen_.empty() ? got : ByteRange{std::min(seen_.first, got.first), std::max(seen_.end, got.end)};
    download_->note_served();
  }
  std::shared_ptr<Read> done;
  for (auto it = reads_.begin(); it != reads_.end(); ++it) {
    if (it->get() != read) continue;
    done = std::move(*it);
    reads_.erase(it);
    break;
  }
  if (done) done->answer(std::move(result));
}

void DownloadFollower::finish(Size* size, Result<ByteCount> result) {
  if (result) told_size_ = *result;
  std::shared_ptr<Size> done;
  for (auto it = sizes_.begin(); it != sizes_.end(); ++it) {
    if (it->get() != size) continue;
    done = std::move(*it);
    sizes_.erase(it);
    break;
  }
  if (done) done->answer(std::move(result));
}

void DownloadFollower::prune() {
  reads_.remove_if([](const auto& read) { return !read->wanted(); });
  sizes_.remove_if([](const auto& size) { return !size->wanted(); });
}

}  // namespace layerd::proxy
