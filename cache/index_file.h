// The index on disk: an LMDB environment. Only cache/index_*.cc know lmdb.h.
//
// Commits are durable (no NOSYNC, no WRITEMAP). Every value carries a format byte and a checksum
// over table, key and payload; a row that does not match is treated as absent and counted.
// get() and grow(): loop thread. scan(): any thread. write(): worker side, one at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/index_table.h"
#include "runtime/clock.h"
#include "runtime/result.h"

struct MDB_env;
struct MDB_txn;

namespace layerd::cache {

class IndexFile {
 public:
  // Row callbacks answer false to stop. The views are valid during the call only.
  using RowFunction = std::function<bool(ByteView key, ByteView value)>;

  // map_bytes: how large the file may become before grow(). Errors: local_io.
  static Result<std::shared_ptr<IndexFile>> open(const std::string& folder, ByteCount map_bytes);
  ~IndexFile();
  IndexFile(const IndexFile&) = delete;
  IndexFile& operator=(const IndexFile&) = delete;

  std::optional<std::string> get(Table table, ByteView key);
  // True: every row was handed out until the end or until `row` answered false. False: some could not
  // be read.
  bool scan(Table table, ByteView from, const RowFunction& row) const;

  // All changes in one durable transaction. Errors: overloaded: the map is full, grow() and try
  // again; no_space, local_io.
  Result<Ok> write(const std::vector<IndexChange>& changes);
  // Doubles the map. No write() and no scan() of another thread may be running.
  Result<Ok> grow();

  std::uint64_t bad_rows() const { return bad_rows_.load(std::memory_order_relaxed); }

  // Reads every row by cursor and by key and compares what can be compared. Run it in a process of
  // its own: damaged pages may kill the reader. True: nothing wrong was found.
  static bool walk(const std::string& folder);

 private:
  explicit IndexFile(MDB_env* env) : env_(env) {}
  Result<Ok> open_tables();

  MDB_env* env_;
  MDB_txn* reader_ = nullptr;  // kept between get()s, reset while idle
  unsigned tables_[kTableCount] = {};
  mutable std::atomic<std::uint64_t> bad_rows_{0};
};

// Runs IndexFile::walk in a child process; blocks until it ends. Nothing: it took longer than `most`.
std::optional<bool> index_is_sound(const std::string& folder, Duration most);

}  // namespace layerd::cache
