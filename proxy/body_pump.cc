#include "proxy/body_pump.h"

namespace layerd::proxy {

BodyPump::BodyPump(http::Exchange& exchange, cache::SourcePtr source, const cache::StoredBlob* stored)
    : exchange_(exchange), source_(std::move(source)), stored_(stored) {}

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

// In pieces, so that a file found bad meanwhile breaks off between two of them.
void BodyPump::send_slice(BodyPiece& piece, FilePtr file) {
  if (stored_ && stored_->bad()) {
    return end(Error{Errc::digest_mismatch,
                     stored_->digest().str() + " was found damaged on disk while it was sent"});
  }
  const ByteRange slice{piece.range.first,
                        std::min(piece.range.end, piece.range.first + http::Exchange::kFilePiece)};
  piece.range.first = slice.end;
  pending_ = exchange_.send_file(std::move(file), slice, [this] { next(); });
}

// How much is read at once is the source's choice: it knows how many others read.
void BodyPump::read_chunk(BodyPiece& piece) {
  const ByteCount most = std::min(cache::kMaxRead, piece.range.size());
  pending_ = source_->read(piece.range.first, most, [this, &piece](Result<Bytes> chunk) {
    if (!chunk) return end(std::move(chunk).error());
    send_chunk(piece, std::move(*chunk));
  });
}

void BodyPump::send_chunk(BodyPiece& piece, Bytes chunk) {
  piece.range.first += chunk.size();
  pending_ = exchange_.send(std::move(chunk), [this] { next(); });
}

}  // namespace layerd::proxy
