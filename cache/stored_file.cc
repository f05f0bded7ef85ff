#include "cache/stored_file.h"

#include <fmt/core.h>

namespace layerd::cache {

StoredFile::StoredFile(Loop& loop, Workers& workers, Digest digest, FilePtr file, FileFacts facts,
                       FileOpsPtr files, Failed failed)
    : loop_(loop),
      workers_(workers),
      digest_(digest),
      file_(std::move(file)),
      facts_(facts),
      files_(std::move(files)),
      failed_(std::move(failed)) {}

void StoredFile::report() {
  if (const int code = file_->take_read_error())
    failed_(errno_error(fmt::format("cannot read {}", file_->path()), code));
}

Ticket StoredFile::size(Done<ByteCount> done) {
  auto operation = std::make_shared<Pending<ByteCount>>(std::move(done));
  loop_.post_detached([operation, size = facts_.size] { operation->answer(size); });
  return Ticket(operation);
}

Ticket StoredFile::read(ByteCount offset, ByteCount max, Done<Bytes> done) {
  std::optional<Result<Bytes>> at_once;
  const auto wanted =
      static_cast<std::size_t>(std::min({max, kMaxRead, facts_.size - std::min(offset, facts_.size)}));
  if (bad_) {
    at_once =
        Error{Errc::digest_mismatch, "the file of " + digest_.str() + " was found damaged while it was read"};
  } else if (wanted == 0) {
    at_once = Error{Errc::range_unsatisfiable,
                    fmt::format("offset {} is behind the end of {}", offset, digest_.str())};
  } else if (auto bytes = file_->read_at_once(offset, wanted); bytes && !bytes->empty()) {
    at_once = std::move(*bytes);
  }
  if (at_once) {
    auto operation = std::make_shared<Pending<Bytes>>(std::move(done));
    loop_.post_detached(
        [operation, answer = std::move(*at_once)]() mutable { operation->answer(std::move(answer)); });
    return Ticket(operation);
  }
  return workers_.run<Bytes>(
      "blob read",
      [files = files_, file = file_, offset, wanted]() -> Result<Bytes> {
        auto bytes = files->read_at(*file, offset, wanted);
        if (bytes && bytes->empty())
          return Error{Errc::local_io, "the file " + file->path() + " is shorter than it was"};
        return bytes;
      },
      [failed = failed_, done = std::move(done)](Result<Bytes> bytes) mutable {
        if (!bytes) failed(bytes.error());
        done(std::move(bytes));
      });
}

void OpenBlobs::add(const StoredFilePtr& blob) {
  open_[blob->digest()] = blob;
  recent_.push_front(blob);
  if (recent_.size() > kKept) recent_.pop_back();
  if (open_.size() > forget_at_) forget_closed();
}

StoredFilePtr OpenBlobs::find(const Digest& digest) {
  const auto found = open_.find(digest);
  if (found == open_.end()) return nullptr;
  auto blob = found->second.lock();
  if (!blob) {
    open_.erase(found);
    return nullptr;
  }
  if (recent_.empty() || recent_.front() != blob) {
    recent_.remove(blob);
    recent_.push_front(blob);
    if (recent_.size() > kKept) recent_.pop_back();
  }
  return blob;
}

void OpenBlobs::drop(const Digest& digest) {
  recent_.remove_if([&](const StoredFilePtr& blob) { return blob->digest() == digest; });
  open_.erase(digest);
}

bool OpenBlobs::in_use(const Digest& digest) {
  const auto found = open_.find(digest);
  if (found == open_.end()) return false;
  recent_.remove_if([&](const StoredFilePtr& blob) { return blob->digest() == digest; });
  if (!found->second.expired()) return true;
  open_.erase(found);
  return false;
}

void OpenBlobs::forget_closed() {
  std::erase_if(open_, [](const auto& entry) { return entry.second.expired(); });
  forget_at_ = 2 * open_.size() + 256;
}

}  // namespace layerd::cache
