#include "proxy/segment.h"

#include <fmt/core.h>

namespace layerd::proxy {

namespace {

constexpr ByteCount kMostBlock = 256_KiB;

}  // namespace

void Segment::start(upstream::FetchRequest request) {
  target_ = request.target;
  mark(loop_.now());
  pending_ = fetcher_.fetch(std::move(request),
                            [this](Result<upstream::FetchResponse> answer) { on_head(std::move(answer)); });
}

void Segment::start_with(upstream::FetchResponse response) {
  mark(loop_.now());
  pending_ = loop_.post([this, response = std::move(response)]() mutable { on_head(std::move(response)); });
}

void Segment::on_head(Result<upstream::FetchResponse> answer) {
  if (!answer) return owner_.ended(*this, std::move(answer).error());
  const ByteRange given = answer->body_range;
  mark(loop_.now());
  if (given.first > range_.first) {
    return owner_.ended(*this, Error{Errc::upstream_protocol,
                                     fmt::format("{} answered a range from byte {} with bytes from {}",
                                                 answer->endpoint_name, range_.first, given.first)});
  }
  rest();
  position_ = given.first;
  body_end_ = given.end;
  reads_through_ = answer->status == 200 && range_.first > 0;
  range_.end = reads_through_ ? given.end : std::min(range_.end, given.end);
  body_ = std::move(answer->body);
  if (owner_.opened(*this, *answer)) pump();
}

void Segment::read_to_end() { range_.end = body_end_; }

void Segment::resume() {
  if (state_ != State::resting || pump_posted_) return;
  pump_posted_ = true;
  posted_ = loop_.post([this] {
    pump_posted_ = false;
    pump();
  });
}

void Segment::pump() {
  if (state_ != State::resting) return;
  if (position() >= owner_.stop(*this)) return owner_.ended(*this, Ok{});
  if (!owner_.may_read(*this)) return;
  if (auto lease = budget_.try_take(block_)) {
    lease_ = std::move(*lease);
    return read();
  }
  state_ = State::leasing;
  block_ = kLeastBlock;
  leasing_ = budget_.take(block_, [this](Result<BufferBudget::Lease> lease) {
    if (!lease) return owner_.ended(*this, std::move(lease).error());
    lease_ = std::move(*lease);
    read();
  });
}

void Segment::rest() {
  state_ = State::resting;
  rests_since_ = loop_.now();
}

void Segment::read() {
  state_ = State::reading;
  waits_since_ = loop_.now();
  marked_at_ += waits_since_ - rests_since_;
  wanted_ = block_ - position_ % block_;
  pending_ = body_->read(wanted_, [this](Result<Bytes> chunk) { on_chunk(std::move(chunk)); });
}

void Segment::fit_block(ByteCount got) {
  if (got == wanted_)
    block_ = std::min(2 * block_, kMostBlock);
  else if (got < block_ / 4)
    block_ = std::max(block_ / 2, kLeastBlock);
}

void Segment::on_chunk(Result<Bytes> chunk) {
  if (!chunk) return owner_.ended(*this, std::move(chunk).error());
  if (chunk->empty()) return owner_.ended(*this, Ok{});
  rest();
  received_ += chunk->size();
  fit_block(chunk->size());
  const ByteCount stop = owner_.stop(*this);
  const ByteCount at = position_;
  position_ += chunk->size();
  const ByteCount first = std::max(at, range_.first);
  const ByteCount end = std::min(position_, stop);
  if (first < end) {
    chunk->truncate(end - at);
    chunk->drop_front(first - at);
    owner_.deliver(*this, first, std::move(*chunk), std::move(lease_));
  }
  lease_ = {};
  resume();
}

}  // namespace layerd::proxy
