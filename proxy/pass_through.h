// PassThrough: one reader's own fetch of a blob when the disk takes no more (docs/decisions/0004). At most
// 256 KiB in memory; the digest is computed as the bytes pass, and the end of a body waits for it as
// everywhere. What the partial file has is read from there. Loop thread; destroying it drops the request.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/partial_blob.h"
#include "proxy/download_places.h"
#include "proxy/download_settings.h"

namespace layerd::proxy {

class PassThrough {
 public:
  // partial: may be null. size: if a source has confirmed it. is_verified: what the partial file has is
  // right.
  PassThrough(DownloadParts& parts, const Digest& digest, const std::vector<registry::TargetPtr>& targets,
              cache::PartialBlobPtr partial, std::optional<ByteCount> size, bool is_verified);

  // As Source::size and Source::read; one call at a time. want: what the reader is after; a body that
  // does not reach the blob's end needs no digest.
  Ticket size(Done<ByteCount> done);
  Ticket read(ByteCount offset, ByteCount max, std::optional<ByteRange> want, Done<Bytes> done);

 private:
  struct Read;
  struct Size;
  // The reader's call: answer it from what is in hand, or fetch what it lacks.
  void step();
  bool serve();
  void serve_partial(ByteCount count);
  void hash_partial();
  bool is_wrong();
  ByteCount end_on_disk(ByteCount offset) const;
  bool trusts_partial();
  void prepare_hash();
  void stream_from(ByteCount start);
  void open(ByteCount start);
  void on_head(Result<upstream::FetchResponse> answer, ByteCount start);
  void ask_size(std::size_t endpoint);
  void size_known(ByteCount size);
  void on_chunk(Result<Bytes> chunk);
  void take_in(ByteView bytes);
  void broke(const Error& error);
  void answer(Result<Bytes> result);
  void fail(const Error& error);
  bool needs_digest() const;
  ByteCount end_for(ByteCount end) const;

  DownloadParts& parts_;
  const Digest digest_;
  DownloadPlaces places_;
  cache::PartialBlobPtr partial_;
  unsigned generation_ = 0;  // of partial_: the bytes that were there when we began
  std::optional<ByteCount> size_;
  std::optional<ByteRange> want_;

  std::unique_ptr<http::BodyReader> body_;  // brings the blob's bytes from pos_ on
  ByteCount pos_ = 0;
  std::size_t place_ = 0;
  std::optional<TimePoint> trouble_since_;

  std::optional<Hasher> hasher_;  // of [0, hashed_)
  ByteCount hashed_ = 0;
  unsigned restarts_ = 0;  // how often the hash was begun anew
  // The digest of the bytes before an offset, hashed and perhaps read already: those of a new beginning
  // have to be the same.
  std::optional<std::pair<ByteCount, Digest>> had_;
  bool is_other_ = false;  // they were not
  bool verified_ = false;

  std::string buffer_;  // bytes from buffer_first_ on, taken in and not yet read
  ByteCount buffer_first_ = 0;

  std::shared_ptr<Size> size_asked_;
  std::shared_ptr<Read> read_asked_;
  Ticket pending_;  // the one thing waited for: head, chunk, disk, hash, a pause
  Ticket stalled_;
};

}  // namespace layerd::proxy
