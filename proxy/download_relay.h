// DownloadRelay: the growing file of a download, read for a member of the site. Unlike a follower it does not
// keep the download going, knows no held tail (the member compares for itself), and ends when the download
// does without a file. Loop thread.
#pragma once

#include <list>
#include <memory>
#include <optional>

#include "cache/source.h"
#include "proxy/download.h"

namespace layerd::proxy {

class DownloadRelay final : public cache::Source {
 public:
  explicit DownloadRelay(Download& download);
  ~DownloadRelay() override;
  DownloadRelay(const DownloadRelay&) = delete;
  DownloadRelay& operator=(const DownloadRelay&) = delete;

  // Waits until a source has told it. Errors: as read().
  Ticket size(Done<ByteCount> done) override;
  // Waits for bytes that are absent. Errors: not_found: the download ended without them, or took them back.
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override;
  FilePtr file() const override;

  // For the download.
  void wake();
  void lost(ByteRange range);  // what it may have read is wrong
  void turned_whole();         // from now on the bytes come in order from the first one
  void download_gone();

 private:
  struct Read final : Pending<Bytes> {
    Read(Done<Bytes> done, ByteCount o, ByteCount m) : Pending(std::move(done)), offset(o), max(m) {}
    void on_cancel() noexcept override { step.reset(); }
    const ByteCount offset, max;
    bool begun = false;
    Ticket step;
  };
  bool has_ended() const;
  std::optional<ByteCount> known_size() const;
  void settle_sizes();
  void advance(const std::shared_ptr<Read>& read);
  void answer_soon(const std::shared_ptr<Read>& read, Error error);
  void finish(const std::shared_ptr<Read>& read, Result<Bytes> result);

  Loop& loop_;
  Download* download_;  // null: gone
  cache::StoredBlobPtr stored_;
  std::list<std::shared_ptr<Read>> reads_;
  std::list<std::shared_ptr<Pending<ByteCount>>> sizes_;
  ByteRange seen_{};             // from the first to the last byte that was read
  std::optional<Error> broken_;  // why it ends, though the download goes on
};

}  // namespace layerd::proxy
