// DownloadFollower: one reader's hold on a download, a Source. It reads the growing file at its own pace,
// keeps back the end of the body until the digest is right, and fetches for itself when the disk is full.
// Whoever reads has leased the buffer of the chunk he asks for: here none is kept.
//
// Loop thread. Its life keeps the download going; destroying it takes all its answers back.
#pragma once

#include <list>
#include <memory>
#include <optional>

#include "cache/source.h"
#include "proxy/download.h"
#include "proxy/pass_through.h"

namespace layerd::proxy {

class DownloadFollower final : public cache::Source {
 public:
  explicit DownloadFollower(std::shared_ptr<Download> download);
  ~DownloadFollower() override;

  Ticket size(Done<ByteCount> done) override;
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override;
  FilePtr file() const override;
  void want(ByteRange range) override;

  // For the download. None of them calls a reader back before it has returned.
  void wake();                                   // bytes came, or the state changed
  void settle_size();                            // the size may be told now
  void size_confirmed(ByteCount size);           // fails who told his client another one
  void attempt_failed(const Error& why);         // the bytes so far are worthless
  void lost(ByteRange range, const Error& why);  // these bytes were wrong; they come again
  void give_up(const Error& why);                // nothing will come any more
  // Where a reader of ours waits for absent bytes.
  std::optional<ByteCount> waiting_at() const;

 private:
  struct Read final : Pending<Bytes> {
    Read(Done<Bytes> done, ByteCount o, ByteCount m) : Pending(std::move(done)), offset(o), max(m) {}
    void on_cancel() noexcept override { step.reset(); }
    const ByteCount offset;
    const ByteCount max;
    bool begun = false;  // a step is under way
    Ticket step;
  };
  struct Size final : Pending<ByteCount> {
    using Pending::Pending;
    void on_cancel() noexcept override {
      step.reset();
      patience.reset();
    }
    bool begun = false;
    Ticket step;
    Ticket patience;  // how long it waits for a download in trouble
  };

  void advance(Read& read);
  void advance(Size& size);
  void answer_soon(Read& read, Error error);
  void answer_soon(Size& size, Result<ByteCount> result);
  void finish(Read* read, Result<Bytes> result);
  void finish(Size* size, Result<ByteCount> result);
  void read_file(Read& read);
  void read_partial(Read& read, ByteCount count);
  void read_through(Read& read);
  void limit_patience(Size& size);
  ByteCount readable(const Read& read) const;
  PassThrough& own_fetch();
  const Error* final_error() const;
  void prune();

  std::shared_ptr<Download> download_;
  std::list<std::shared_ptr<Read>> reads_;
  std::list<std::shared_ptr<Size>> sizes_;
  std::optional<ByteRange> want_;
  std::optional<ByteCount> told_size_;
  bool has_read_ = false;
  ByteRange seen_{};           // from the first to the last byte that was read
  std::optional<Error> doom_;  // this follower cannot be served any more
  std::unique_ptr<PassThrough> own_fetch_;
};

}  // namespace layerd::proxy
