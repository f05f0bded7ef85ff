#include "tests/support/memory_store.h"

#include <utility>

namespace layerd::test {

namespace {

class MemoryBlob final : public cache::StoredBlob {
 public:
  MemoryBlob(Loop& loop, Digest digest, std::shared_ptr<const std::string> bytes)
      : loop_(loop), digest_(digest), bytes_(std::move(bytes)) {}
  const Digest& digest() const override { return digest_; }
  ByteCount byte_count() const override { return bytes_->size(); }
  Ticket size(Done<ByteCount> done) override {
    auto call = std::make_shared<Pending<ByteCount>>(std::move(done));
    loop_.post_detached([call, size = byte_count()] { call->answer(size); });
    return Ticket(call);
  }
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override {
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    loop_.post_detached([call, bytes = bytes_, offset, max] {
      if (offset >= bytes->size()) return call->answer(Error{Errc::range_unsatisfiable, "past the end"});
      call->answer(Bytes::copy_of(ByteView(*bytes).substr(offset, max)));
    });
    return Ticket(call);
  }

 private:
  Loop& loop_;
  Digest digest_;
  std::shared_ptr<const std::string> bytes_;
};

}  // namespace

// Keeps its state in the store's `left_` row, so that dropping it is what the end of a process is.
class MemoryPartial final : public cache::PartialBlob {
 public:
  MemoryPartial(MemoryStore& store, Digest digest) : store_(store), digest_(digest) {
    if (!row().content) row().content = std::make_shared<MemoryStore::Content>();
  }
  const Digest& digest() const override { return digest_; }
  std::optional<ByteCount> size() const override { return row().size; }
  void set_size(ByteCount size) override {
    const auto& ranges = row().present.ranges();
    if (row().size ? *row().size != size : !ranges.empty() && ranges.back().end > size) forget();
    row().size = size;
  }
  const RangeSet& present() const override { return row().present; }
  ByteCount hashed_front() const override { return row().present.run_end(0); }

  Ticket write(ByteCount offset, Bytes bytes, Done<Ok> done) override {
    auto call = std::make_shared<Pending<Ok>>(std::move(done));
    const ByteRange range{offset, offset + bytes.size()};
    if (row().size && range.end > *row().size) {
      store_.loop_.post_detached([call] { call->answer(Error{Errc::invalid_request, "past the end"}); });
      return Ticket(call);
    }
    if (store_.write_fails_from && range.end > *store_.write_fails_from) {
      store_.loop_.post_detached([call] { call->answer(Error{Errc::no_space, "the disk is full"}); });
      return Ticket(call);
    }
    auto content = row().content;
    auto job = [content, offset, bytes = std::move(bytes)]() -> Result<Ok> {
      const std::lock_guard lock(content->mutex);
      if (content->bytes.size() < offset + bytes.size()) content->bytes.resize(offset + bytes.size());
      std::memcpy(content->bytes.data() + offset, bytes.data(), bytes.size());
      return Ok{};
    };
    // Like the real one: dropping the Ticket does not undo the write.
    auto finish = [&store = store_, digest = digest_, content, range, call](const Result<Ok>&) {
      auto& left = store.left_[digest];
      if (left.content != content) return call->answer(Error{Errc::canceled, "discarded meanwhile"});
      left.present.add(range);
      call->answer(Ok{});
    };
    run(std::move(job), std::move(finish));
    return Ticket(call);
  }

  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override {
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    store_.largest_partial_read = std::max(store_.largest_partial_read, max);
    const ByteCount end = std::min(row().present.run_end(offset), offset + max);
    auto content = row().content;
    auto got = std::make_shared<Result<Bytes>>(Error{Errc::range_unsatisfiable, "absent"});
    auto job = [content, offset, end, got]() -> Result<Ok> {
      const std::lock_guard lock(content->mutex);
      if (end > offset) *got = Bytes::copy_of(ByteView(content->bytes).substr(offset, end - offset));
      return Ok{};
    };
    run_read(std::move(job), [call, got](const Result<Ok>&) { call->answer(std::move(*got)); });
    return Ticket(call);
  }

  Ticket hash(ByteRange range, Done<Digest> done) override {
    auto call = std::make_shared<Pending<Digest>>(std::move(done));
    auto content = row().content;
    auto got = std::make_shared<Result<Digest>>(Error{Errc::range_unsatisfiable, "absent"});
    auto job = [content, range, got, is_there = row().present.contains(range)]() -> Result<Ok> {
      const std::lock_guard lock(content->mutex);
      if (is_there)
        *got = digest_of(DigestAlgorithm::sha256, ByteView(content->bytes).substr(range.first, range.size()));
      return Ok{};
    };
    run_read(std::move(job), [call, got](const Result<Ok>&) { call->answer(std::move(*got)); });
    return Ticket(call);
  }
  void take_back(ByteRange range) override { row().present.remove(range); }

  Ticket verify(Done<Ok> done) override {
    auto call = std::make_shared<Pending<Ok>>(std::move(done));
    auto content = row().content;
    auto right = std::make_shared<bool>(false);
    auto job = [content, right, size = *row().size, digest = digest_]() -> Result<Ok> {
      const std::lock_guard lock(content->mutex);
      const auto bytes = ByteView(content->bytes).substr(0, size);
      *right = bytes.size() == size && digest_of(digest.algorithm(), bytes) == digest;
      return Ok{};
    };
    run_read(std::move(job), [this, alive = weak_, call, right](const Result<Ok>&) {
      if (*right) return call->answer(Ok{});
      if (!alive.expired()) {
        ++store_.mismatches;
        forget();
      }
      call->answer(Error{Errc::digest_mismatch, "the bytes are the wrong ones"});
    });
    return Ticket(call);
  }

  Ticket hasher_at_front(Done<std::pair<ByteCount, Hasher>> done) override {
    auto call = std::make_shared<Pending<std::pair<ByteCount, Hasher>>>(std::move(done));
    Hasher hasher(digest_.algorithm());
    const ByteCount front = hashed_front();
    {
      const std::lock_guard lock(row().content->mutex);
      hasher.update(ByteView(row().content->bytes).substr(0, front));
    }
    store_.loop_.post_detached([call, front, hasher = std::move(hasher)]() mutable {
      call->answer(std::pair(front, std::move(hasher)));
    });
    return Ticket(call);
  }

  unsigned generation() const override { return generation_; }
  void discard() override {
    ++generation_;
    store_.left_.erase(digest_);
  }

  std::string take() {
    const std::lock_guard lock(row().content->mutex);
    return row().content->bytes.substr(0, *row().size);
  }

 private:
  MemoryStore::Left& row() const {
    auto& left = store_.left_[digest_];
    if (!left.content) left.content = std::make_shared<MemoryStore::Content>();
    return left;
  }
  void forget() {
    ++generation_;
    row() = {std::make_shared<MemoryStore::Content>(), {}, std::nullopt};
  }
  template <class Job, class Finish>
  void run_read(Job job, Finish finish) {
    if (store_.workers_ == nullptr) {
      store_.loop_.post_detached(
          [job = std::move(job), finish = std::move(finish)]() mutable { finish(job()); });
      return;
    }
    store_.workers_->run_detached(
        [&loop = store_.loop_, job = std::move(job), finish = std::move(finish)]() mutable {
          auto result = std::make_shared<Result<Ok>>(job());
          loop.post_remote([result, finish = std::move(finish)]() mutable { finish(*result); });
        });
  }
  template <class Job, class Finish>
  void run(Job job, Finish finish) {
    if (store_.write_takes == Duration::zero()) return run_read(std::move(job), std::move(finish));
    auto ticket = std::make_shared<Ticket>();
    *ticket = store_.loop_.after(store_.write_takes, "write",
                                 [job = std::move(job), finish = std::move(finish), ticket]() mutable {
                                   auto spent = std::move(ticket);
                                   finish(job());
                                 });
  }

  MemoryStore& store_;
  Digest digest_;
  unsigned generation_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::weak_ptr<int> weak_ = alive_;
};

template <class T>
Ticket MemoryStore::answer(Result<T> result, Done<T> done) {
  auto call = std::make_shared<Pending<T>>(std::move(done));
  loop_.post_detached([call, result = std::move(result)]() mutable { call->answer(std::move(result)); });
  return Ticket(call);
}

const std::string* MemoryStore::committed(const Digest& digest) const {
  const auto found = blobs_.find(digest);
  return found == blobs_.end() ? nullptr : found->second.get();
}

void MemoryStore::leave_partial(const Digest& digest, const std::string& content, const RangeSet& present,
                                std::optional<ByteCount> size) {
  Left left{std::make_shared<Content>(), present, size};
  left.content->bytes = content;
  left_[digest] = std::move(left);
}

ByteCount MemoryStore::partial_bytes(const Digest& digest) const {
  const auto found = left_.find(digest);
  return found == left_.end() ? 0 : found->second.present.total();
}

std::vector<Digest> MemoryStore::units(const Digest& digest) const {
  std::vector<Digest> units;
  const std::string* bytes = committed(digest);
  for (std::size_t at = 0; keeps_units && bytes && at < bytes->size(); at += 8_MiB)
    units.push_back(digest_of(DigestAlgorithm::sha256, ByteView(*bytes).substr(at, 8_MiB)));
  return units;
}

Ticket MemoryStore::open(const Digest& digest, Done<cache::StoredBlobPtr> done) {
  const auto found = blobs_.find(digest);
  if (found == blobs_.end())
    return answer<cache::StoredBlobPtr>(Error{Errc::not_found, "not here"}, std::move(done));
  return answer<cache::StoredBlobPtr>(
      cache::StoredBlobPtr(std::make_shared<MemoryBlob>(loop_, digest, found->second)), std::move(done));
}

std::optional<ByteCount> MemoryStore::known_size(const Digest& digest) const {
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  return found->second->size();
}

Ticket MemoryStore::begin(const Digest& digest, Done<cache::PartialBlobPtr> done) {
  if (begin_fails)
    return answer<cache::PartialBlobPtr>(Error{Errc::local_io, "cannot create a file"}, std::move(done));
  auto partial = partials_[digest].lock();
  if (!partial) {
    partial = std::make_shared<MemoryPartial>(*this, digest);
    partials_[digest] = partial;
  }
  if (on_begin) on_begin();
  return answer<cache::PartialBlobPtr>(std::move(partial), std::move(done));
}

Ticket MemoryStore::reserve(const Digest&, ByteCount more, Done<Ok> done) {
  if (reserved_ + more > room) return answer<Ok>(Error{Errc::no_space, "the cache is full"}, std::move(done));
  reserved_ += more;
  return answer<Ok>(Ok{}, std::move(done));
}

Ticket MemoryStore::commit(cache::PartialBlobPtr partial, Done<cache::StoredBlobPtr> done) {
  if (commit_fails) {
    return answer<cache::StoredBlobPtr>(Error{Errc::local_io, "cannot rename"}, std::move(done));
  }
  ++commits;
  if (on_commit) on_commit();
  const Digest digest = partial->digest();
  auto bytes = std::make_shared<const std::string>(static_cast<MemoryPartial&>(*partial).take());
  blobs_[digest] = bytes;
  return answer<cache::StoredBlobPtr>(
      cache::StoredBlobPtr(std::make_shared<MemoryBlob>(loop_, digest, bytes)), std::move(done));
}

Ticket MemoryStore::put(const Digest& digest, Bytes content, Done<Ok> done) {
  blobs_[digest] = std::make_shared<const std::string>(content.str());
  return answer<Ok>(Ok{}, std::move(done));
}

Ticket MemoryStore::get(const Digest& digest, ByteCount, Done<Bytes> done) {
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return answer<Bytes>(Error{Errc::not_found, "not here"}, std::move(done));
  return answer<Bytes>(Bytes::copy_of(*found->second), std::move(done));
}

Ticket MemoryStore::remove(const Digest& digest, Done<Ok> done) {
  blobs_.erase(digest);
  return answer<Ok>(Ok{}, std::move(done));
}

Ticket MemoryStore::pin(const Digest&, bool, Done<Ok> done) { return answer<Ok>(Ok{}, std::move(done)); }
Ticket MemoryStore::gc(Done<ByteCount> done) { return answer<ByteCount>(ByteCount{0}, std::move(done)); }
Ticket MemoryStore::verify(const Digest&, Done<bool> done) { return answer<bool>(true, std::move(done)); }

}  // namespace layerd::test
