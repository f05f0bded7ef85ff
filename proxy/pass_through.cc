#include "proxy/pass_through.h"

#include <fmt/core.h>

#include <chrono>

namespace layerd::proxy {

namespace {

constexpr ByteCount kSkip = 4_MiB;  // a gap up to this long is read over rather than asked around
constexpr ByteCount kReadAtOnce = 64_KiB;

}  // namespace

struct PassThrough::Read final : Pending<Bytes> {
  Read(Done<Bytes> done, ByteCount o, ByteCount m) : Pending(std::move(done)), offset(o), max(m) {}
  const ByteCount offset;
  const ByteCount max;
};

struct PassThrough::Size final : Pending<ByteCount> {
  using Pending::Pending;
};

PassThrough::PassThrough(DownloadParts& parts, const Digest& digest,
                         const std::vector<registry::TargetPtr>& targets, cache::PartialBlobPtr partial,
                         std::optional<ByteCount> size, bool is_verified)
    : parts_(parts),
      digest_(digest),
      places_(parts.settings),
      partial_(std::move(partial)),
      generation_(partial_ ? partial_->generation() : 0),
      size_(size),
      verified_(is_verified) {
  for (const auto& target : targets) places_.add(target);
}

Ticket PassThrough::size(Done<ByteCount> done) {
  size_asked_ = std::make_shared<Size>(std::move(done));
  pending_ = parts_.loop.post([this] {
    if (size_) return size_known(*size_);
    open(0);
  });
  return Ticket(size_asked_);
}

Ticket PassThrough::read(ByteCount offset, ByteCount max, std::optional<ByteRange> want, Done<Bytes> done) {
  want_ = want;
  // A former reader left while a chunk was on its way: where the body stands is not known any more.
  if (stalled_.held()) body_.reset();
  stalled_.reset();
  read_asked_ = std::make_shared<Read>(std::move(done), offset, max);
  pending_ = parts_.loop.post([this] { step(); });
  return Ticket(read_asked_);
}

bool PassThrough::needs_digest() const { return !verified_ && (!want_ || want_->end >= *size_); }

// Of the blob's end nothing leaves before the digest is right.
ByteCount PassThrough::end_for(ByteCount end) const {
  return needs_digest() ? std::min(end, held_from(*size_)) : end;
}

void PassThrough::step() {
  if (!read_asked_ || !read_asked_->wanted()) return;
  trusts_partial();
  const ByteCount offset = read_asked_->offset;
  if (!size_) return open(0);
  if (offset >= *size_) {
    return answer(
        Error{Errc::range_unsatisfiable, fmt::format("byte {} is past the end of {} bytes", offset, *size_)});
  }
  if (serve()) return;
  if (needs_digest() && !hasher_) return prepare_hash();
  if (const ByteCount end = end_on_disk(offset); end > offset) return serve_partial(end - offset);
  if (!needs_digest()) return stream_from(offset);
  const bool in_buffer = offset >= buffer_first_ && offset < buffer_first_ + buffer_.size();
  if (offset < hashed_ && !in_buffer) {  // a reader who went back
    if (++restarts_ > parts_.settings.start_overs) return fail(places_.worst());
    if (!had_ || had_->first < hashed_) had_.emplace(hashed_, hasher_->finish());
    return prepare_hash();
  }
  if (partial_ && partial_->present().run_end(hashed_) > hashed_) return hash_partial();
  stream_from(hashed_);
}

// How far the partial file serves a reader. Where the digest counts it serves nothing that is not part of
// the hash: what the hash is of and what is read are the same bytes, wherever they came from.
ByteCount PassThrough::end_on_disk(ByteCount offset) const {
  if (!partial_) return offset;
  const ByteCount end = std::min(partial_->present().run_end(offset), offset + read_asked_->max);
  return needs_digest() ? std::min(end_for(end), hashed_) : end;
}

// A newer download of the same digest may have thrown the bytes away and written others in their place:
// then the file is nothing to us any more, nor what was known of it.
bool PassThrough::trusts_partial() {
  if (partial_ && partial_->generation() != generation_) {
    partial_.reset();
    verified_ = false;
  }
  return partial_ != nullptr;
}

// The hash goes on with what the partial file has behind it.
void PassThrough::hash_partial() {
  body_.reset();
  pos_ = hashed_;
  const ByteCount most = std::min(parts_.chunk(), *size_ - hashed_);
  pending_ = partial_->read(hashed_, most, [this](Result<Bytes> bytes) {
    if (!trusts_partial() || !bytes) {
      partial_.reset();
      return step();
    }
    take_in(bytes->view());
    if (is_wrong()) return;
    step();
  });
}

// From the buffer. True if that answered the reader.
bool PassThrough::serve() {
  const ByteCount offset = read_asked_->offset;
  const ByteCount have = buffer_first_ + buffer_.size();
  if (offset < buffer_first_ || offset >= have) return false;
  const ByteCount end = end_for(std::min(have, offset + read_asked_->max));
  if (end <= offset) return false;
  Bytes bytes = Bytes::copy_of(ByteView(buffer_).substr(offset - buffer_first_, end - offset));
  buffer_.erase(0, end - buffer_first_);
  buffer_first_ = end;
  answer(std::move(bytes));
  return true;
}

void PassThrough::serve_partial(ByteCount count) {
  pending_ = partial_->read(read_asked_->offset, count, [this](Result<Bytes> bytes) {
    if (trusts_partial() && bytes) return answer(std::move(bytes));
    partial_.reset();  // the disk gives nothing back: all of it from upstream
    step();
  });
}

void PassThrough::prepare_hash() {
  buffer_.clear();
  body_.reset();
  const auto begin_at = [this](ByteCount at, Hasher hasher) {
    hashed_ = at;
    hasher_ = std::move(hasher);
    step();
  };
  if (!partial_ || partial_->hashed_front() == 0) return begin_at(0, Hasher(digest_.algorithm()));
  pending_ = partial_->hasher_at_front([this, begin_at](Result<std::pair<ByteCount, Hasher>> front) {
    if (trusts_partial() && front) return begin_at(front->first, std::move(front->second));
    partial_.reset();
    step();
  });
}

// Pulls the next chunk of the stream, which has to stand at `start` or a little before.
void PassThrough::stream_from(ByteCount start) {
  const bool is_near = pos_ <= start && (start - pos_ <= kSkip || !places_.does_ranges(place_));
  if (!body_ || !is_near) return open(start);
  stalled_ = parts_.loop.after(parts_.settings.stall, "pass-through: stall", [this] {
    pending_.reset();
    broke({Errc::upstream_timeout, fmt::format("{} sent no byte in time", places_.name(place_))});
  });
  pending_ = body_->read(std::min(kReadAtOnce, parts_.chunk()),
                         [this](Result<Bytes> chunk) { on_chunk(std::move(chunk)); });
}

void PassThrough::open(ByteCount start) {
  body_.reset();
  if (buffer_first_ + buffer_.size() != start) buffer_.clear();  // what is held back stays in hand
  const TimePoint now = parts_.loop.now();
  if (!trouble_since_) trouble_since_ = now;
  const Deadline until{*trouble_since_ + parts_.settings.connect};
  const auto choice = places_.choose(now);
  if (!choice.place) {
    if (!choice.again || *choice.again >= until.at) return fail(places_.worst());
    pending_ = parts_.loop.after(std::max(*choice.again - now, Duration::zero()), "pass-through: retry",
                                 [this, start] { open(start); });
    return;
  }
  place_ = *choice.place;
  upstream::FetchRequest request;
  request.target = places_.target(place_);
  request.reference = digest_.str();
  request.first_endpoint = places_.endpoint(place_);
  request.only_first_endpoint = true;
  request.deadline = until;
  const bool to_end = !size_ || needs_digest() || !want_;
  const ByteCount end = to_end ? upstream::kOpenEnd : std::max(want_->end, start + 1);
  if (start > 0 || !to_end) request.range = ByteRange{start, end};
  pending_ = parts_.fetcher.fetch(std::move(request), [this, start](Result<upstream::FetchResponse> answer) {
    on_head(std::move(answer), start);
  });
}

void PassThrough::on_head(Result<upstream::FetchResponse> answer, ByteCount start) {
  if (!answer) return broke(answer.error());
  if (answer->body_range.first > start) {
    return broke({Errc::upstream_protocol, fmt::format("{} answered another range", answer->endpoint_name)});
  }
  if (answer->total && *answer->total > kMostBlob)
    return broke(absurd_size(answer->endpoint_name, *answer->total));
  if (size_ && answer->total && *answer->total != *size_) {
    return broke({Errc::upstream_protocol, fmt::format("{} names another size", answer->endpoint_name)});
  }
  if (answer->status == 200 && start > 0) places_.no_ranges(place_);
  body_ = std::move(answer->body);
  pos_ = answer->body_range.first;
  if (size_) return step();
  if (answer->total) return size_known(*answer->total);
  ask_size(answer->endpoint);
}

void PassThrough::ask_size(std::size_t endpoint) {
  upstream::FetchRequest request;
  request.target = places_.target(place_);
  request.reference = digest_.str();
  request.head_only = true;
  request.first_endpoint = endpoint;
  request.only_first_endpoint = true;
  request.deadline = Deadline::in(parts_.loop.now(), parts_.settings.reopen);
  pending_ = parts_.fetcher.fetch(std::move(request), [this](Result<upstream::FetchResponse> answer) {
    if (answer && answer->total && *answer->total <= kMostBlob) return size_known(*answer->total);
    broke({Errc::upstream_protocol, fmt::format("{} names no length, and without it nothing can be passed on "
                                                "while the disk is full",
                                                places_.name(place_))});
  });
}

void PassThrough::size_known(ByteCount size) {
  size_ = size;
  trouble_since_.reset();
  if (size == 0 && digest_of(digest_.algorithm(), {}) != digest_) {
    return fail(
        {Errc::digest_mismatch, fmt::format("{} sent no byte for {}", places_.name(place_), digest_.str())});
  }
  if (auto asked = std::move(size_asked_)) return asked->answer(size);
  step();
}

void PassThrough::on_chunk(Result<Bytes> chunk) {
  stalled_.reset();
  if (!chunk) return broke(chunk.error());
  if (chunk->empty()) {
    return broke({Errc::truncated,
                  fmt::format("{} ended the body at byte {} of {}", places_.name(place_), pos_, *size_)});
  }
  trouble_since_.reset();
  places_.gave(place_, chunk->size());
  chunk->truncate(*size_ - std::min(pos_, *size_));
  take_in(chunk->view());
  if (is_wrong()) return;
  if (pos_ >= *size_) body_.reset();
  step();
}

// Every byte is hashed and the digest is another, or bytes that came twice differ: that ends the reader.
bool PassThrough::is_wrong() {
  if (!hasher_ || verified_ || (hashed_ != *size_ && !is_other_)) return false;
  verified_ = !is_other_ && hasher_->finish() == digest_;
  if (verified_) return false;
  const std::string from = places_.last_name().empty() ? "this disk" : places_.last_name();
  fail({Errc::digest_mismatch,
        fmt::format("the bytes of {} from {} are the wrong ones", digest_.str(), from)});
  return true;
}

// Hashes what continues the hash, keeps what the reader has not had.
void PassThrough::take_in(ByteView bytes) {
  const ByteCount end = pos_ + bytes.size();
  if (hasher_ && pos_ <= hashed_ && hashed_ < end) {
    const ByteCount first = hashed_;
    if (had_ && first < had_->first && had_->first <= end) {
      hasher_->update(bytes.substr(first - pos_, had_->first - first));
      hashed_ = had_->first;
      if (hasher_->finish() != had_->second) is_other_ = true;
      had_.reset();
    }
    hasher_->update(bytes.substr(hashed_ - pos_));
    hashed_ = end;
  }
  const ByteCount wanted = read_asked_ ? read_asked_->offset : pos_;
  if (wanted > buffer_first_) {  // a reader who went ahead: what lies before is not kept for him
    buffer_.erase(0, std::min<ByteCount>(buffer_.size(), wanted - buffer_first_));
    buffer_first_ = wanted;
  }
  if (buffer_.empty()) buffer_first_ = std::max(pos_, wanted);
  const ByteCount from = buffer_first_ + buffer_.size();
  if (from >= pos_ && from < end) buffer_.append(bytes.substr(from - pos_));
  pos_ = end;
}

void PassThrough::broke(const Error& error) {
  stalled_.reset();
  body_.reset();
  places_.failed(place_, error, parts_.loop.now());
  if (size_asked_) return open(0);
  step();
}

void PassThrough::fail(const Error& error) {
  if (auto asked = std::move(size_asked_)) return asked->answer(error);
  answer(error);
}

void PassThrough::answer(Result<Bytes> result) {
  if (auto asked = std::move(read_asked_)) asked->answer(std::move(result));
}

}  // namespace layerd::proxy
