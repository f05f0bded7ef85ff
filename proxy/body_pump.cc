#include "proxy/body_pump.h"

namespace layerd::proxy {
namespace {

// Finished files leave in slices, so that a file found bad meanwhile breaks off between two of them.
constexpr ByteCount kSlice = 8_MiB;
constexpr ByteCount kChunk = 128_KiB;
// A pump never waits for the budget, since slow clients would then starve the downloads that feed
// the others: past this much in use it goes on in small chunks.
constexpr ByteCount kBusy = 8_MiB;
constexpr ByteCount kSmallChunk = 16_KiB;

}  // namespace

BodyPump::BodyPump(http::Exchange& exchange, BufferBudget& buffers, cache::SourcePtr source)
    : exchange_(exchange), buffers_(buffers), source_(std::move(source)) {}

void BodyPump::start(std::vector<BodyPiece> pieces, Bytes first, Done<Ok> ended) {
  pieces_ = std::move(pieces);
  ended_ = std::move(ended);
  if (first.empty() || pieces_.empty() || !pieces_.front().literal.empty()) return next();
  first.truncate(static_cast<std::size_t>(pieces_.front().range.size()));
  send_chunk(pieces_.front(), std::move(first));
}

// Calls out: the handler may destroy us.
void BodyPump::end(Result<Ok> result) {
  auto ended = std::move(ended_);
  ended(std::move(result));
}

void BodyPump::next() {
  while (current_ < pieces_.size()) {
    BodyPiece& piece = pieces_[current_];
    if (!piece.literal.empty()) return send_literal(piece);
    if (!piece.range.empty()) {
      if (auto file = source_->file()) return send_slice(piece, std::move(file));
      return read_chunk(piece);
    }
    ++current_;
  }
  end(Ok{});
}

void BodyPump::send_literal(BodyPiece& piece) {
  Bytes bytes = Bytes::copy_of(piece.literal);
  piece.literal.clear();
  pending_ = exchange_.send(std::move(bytes), [this] { next(); });
}

void BodyPump::send_slice(BodyPiece& piece, FilePtr file) {
  const ByteRange slice{piece.range.first, std::min(piece.range.end, piece.range.first + kSlice)};
  piece.range.first = slice.end;
  pending_ = exchange_.send_file(std::move(file), slice, [this] { next(); });
}

void BodyPump::read_chunk(BodyPiece& piece) {
  ByteCount most = kSmallChunk;
  if (buffers_.in_use() < kBusy) {
    if (auto lease = buffers_.try_take(kChunk)) {
      lease_ = std::move(*lease);
      most = kChunk;
    }
  }
  pending_ = source_->read(piece.range.first, std::min(most, piece.range.size()),
                           [this, &piece](Result<Bytes> chunk) {
                             if (!chunk) return end(std::move(chunk).error());
                             send_chunk(piece, std::move(*chunk));
                           });
}

void BodyPump::send_chunk(BodyPiece& piece, Bytes chunk) {
  piece.range.first += chunk.size();
  pending_ = exchange_.send(std::move(chunk), [this] {
    lease_ = {};
    next();
  });
}

}  // namespace layerd::proxy
