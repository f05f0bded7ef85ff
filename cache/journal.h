// The journal: what the bytes of blobs cannot tell, appended and checksummed, for the day the index
// is lost (docs/formats.md "Journal"). Worker side, one call at a time; open() at start.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/file_ops.h"
#include "cache/index_table.h"

namespace layerd::cache {

// Up to where an index has taken the journal in; kept in the index, in the same transaction.
struct JournalPlace {
  std::uint64_t generation = 0;  // changes with each compaction
  ByteCount end = 0;
  std::string encoded() const;
  static JournalPlace decoded(ByteView text);
};

class Journal {
 public:
  using Feed = std::function<void(Table, ByteView key, ByteView value)>;

  static Result<std::shared_ptr<Journal>> open(FileOpsPtr files, std::string path);
  // Replay, before the first append(): every whole record behind `from`, all of them if that is another
  // generation. Damaged ones are skipped.
  Result<Ok> begin_replay(JournalPlace from);
  // Hands out the next few MiB; place() is behind them afterwards. True: that was all, a torn tail has been
  // cut off. After an error it may be called again.
  Result<bool> replay_slice(const std::function<void(IndexChange)>& change);
  // Appends the journaled ones among `changes`, durable on return.
  Result<Ok> append(const std::vector<IndexChange>& changes);
  // More than twice the live bytes, or more than 64 MiB when that helps.
  bool wants_compaction() const;
  // Writes a new journal from what `rows` feeds and puts it in the place of the old one. `rows` answers
  // false when it could not feed all: then the old one stays, as after every error.
  Result<Ok> compact(const std::function<bool(const Feed&)>& rows);

  JournalPlace place() const { return {generation_, end_}; }
  std::uint64_t damaged_bytes() const { return damaged_; }

 private:
  Journal(FileOpsPtr files, std::string path) : files_(std::move(files)), path_(std::move(path)) {}
  Result<Ok> end_replay();
  Result<Ok> begin_afresh(std::uint64_t generation, const std::function<bool(const Feed&)>& rows);

  FileOpsPtr files_;
  std::string path_;
  FilePtr file_;
  std::uint64_t generation_ = 0;
  ByteCount end_ = 0;
  ByteCount live_ = 0;        // bytes after the last compaction
  ByteCount not_before_ = 0;  // a compaction failed: the next one is tried when the journal has this size
  bool is_torn_ = false;      // a failed append may have left bytes behind end_
  std::uint64_t damaged_ = 0;
  ByteCount replay_end_ = 0;  // the file's size when the replay began
  std::string carried_;       // bytes read by the replay and not yet made into records
};

}  // namespace layerd::cache
