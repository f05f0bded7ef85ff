// The journal: what the bytes of blobs cannot tell, appended and checksummed, for the day the index
// is lost (docs/formats.md "Journal"). Worker side, one call at a time; open() and replay() at start.
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
  // Hands out every whole record behind `from` (all of them if that is another generation), skips
  // damaged ones, and cuts a torn tail off. Must run once before append().
  Result<Ok> replay(JournalPlace from, const std::function<void(IndexChange)>& change);
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
};

}  // namespace layerd::cache
