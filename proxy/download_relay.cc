#include "proxy/download_relay.h"

#include <algorithm>

namespace layerd::proxy {

DownloadRelay::DownloadRelay(Download& download) : loop_(download.parts().loop), download_(&download) {
  download_->enter(*this);
}

DownloadRelay::~DownloadRelay() {
  for (const auto& read : reads_) read->cancel();
  for (const auto& size : sizes_) size->cancel();
  if (download_) download_->leave(*this);
}

bool DownloadRelay::has_ended() const {
  if (stored_) return false;
  return !download_ || download_->state() == Download::State::failed ||
         download_->state() == Download::State::passing_through;
}

std::optional<ByteCount> DownloadRelay::known_size() const {
  if (stored_) return stored_->byte_count();
  return download_ ? download_->size() : std::nullopt;
}

Ticket DownloadRelay::size(Done<ByteCount> done) {
  auto call = std::make_shared<Pending<ByteCount>>(std::move(done));
  sizes_.push_back(call);
  settle_sizes();
  return Ticket(call);
}

// On later stacks: none of the calls that lead here is left by answering.
void DownloadRelay::settle_sizes() {
  const auto size = known_size();
  if (!size && !has_ended() && !broken_) return;
  for (auto& call : sizes_) {
    Result<ByteCount> answer = Error{Errc::not_found, "the download ended before its size was known"};
    if (size && !broken_) answer = *size;
    loop_.post_detached([call, answer = std::move(answer)]() mutable { call->answer(std::move(answer)); });
  }
  sizes_.clear();
}

Ticket DownloadRelay::read(ByteCount offset, ByteCount max, Done<Bytes> done) {
  reads_.remove_if([](const auto& read) { return !read->wanted(); });
  auto read = std::make_shared<Read>(std::move(done), offset, std::min(max, cache::kMaxRead));
  reads_.push_back(read);
  advance(read);
  return Ticket(read);
}

FilePtr DownloadRelay::file() const { return stored_ && !broken_ ? stored_->file() : nullptr; }

void DownloadRelay::wake() {
  if (download_ && download_->stored()) stored_ = download_->stored();
  settle_sizes();
  const auto reads = reads_;
  for (const auto& read : reads)
    if (read->wanted() && !read->begun) advance(read);
}

void DownloadRelay::lost(ByteRange range) {
  if (seen_.first >= range.end || range.first >= seen_.end) return;
  broken_ = Error{Errc::not_found, "these bytes were wrong"};
  wake();
}

// Who waits for bytes in the middle would wait for all before them.
void DownloadRelay::turned_whole() {
  const auto partial = download_ ? download_->partial() : nullptr;
  const ByteCount front = partial ? partial->present().run_end(0) : 0;
  const bool is_ahead =
      std::any_of(reads_.begin(), reads_.end(), [front](const auto& read) { return read->offset > front; });
  if (!is_ahead && seen_.end <= front) return;
  broken_ = Error{Errc::not_found, "upstream gives this blob from its first byte on only"};
  wake();
}

void DownloadRelay::download_gone() {
  if (download_ && download_->stored()) stored_ = download_->stored();
  download_ = nullptr;
  wake();
}

void DownloadRelay::advance(const std::shared_ptr<Read>& read) {
  if (broken_) return answer_soon(read, *broken_);
  if (has_ended()) return answer_soon(read, {Errc::not_found, "the download ended without these bytes"});
  const auto size = known_size();
  if (size && read->offset >= *size)
    return answer_soon(read, {Errc::range_unsatisfiable, "past the end of the blob"});
  const auto answered = [this, weak = std::weak_ptr<Read>(read)](Result<Bytes> bytes) {
    if (const auto still = weak.lock()) finish(still, std::move(bytes));
  };
  if (stored_) {
    read->begun = true;
    read->step = stored_->read(read->offset, read->max, answered);
    return;
  }
  const auto& partial = download_->partial();
  if (!partial) return;
  const ByteCount end = std::min(partial->present().run_end(read->offset), read->offset + read->max);
  if (end <= read->offset) return;  // on its way
  read->begun = true;
  read->step = partial->read(read->offset, end - read->offset, answered);
}

void DownloadRelay::answer_soon(const std::shared_ptr<Read>& read, Error error) {
  read->begun = true;
  read->step = loop_.post([this, weak = std::weak_ptr<Read>(read), error = std::move(error)]() mutable {
    if (const auto still = weak.lock()) finish(still, std::move(error));
  });
}

// Calls out last: the reader may destroy us.
void DownloadRelay::finish(const std::shared_ptr<Read>& read, Result<Bytes> result) {
  if (result && broken_) result = *broken_;
  if (result) {
    const ByteRange got{read->offset, read->offset + result->size()};
    seen_ = seen_.empty() ? got : ByteRange{std::min(seen_.first, got.first), std::max(seen_.end, got.end)};
  }
  const auto done = read;
  reads_.remove(read);
  done->answer(std::move(result));
}

}  // namespace layerd::proxy
