#include "cache/index_file.h"

#include <lmdb.h>

#include <cerrno>

#include "cache/index_value.h"

namespace layerd::cache {
namespace {

Error lmdb_error(const char* what, int code) {
  if (code == MDB_MAP_FULL) return Error{Errc::overloaded, "the index has reached the size of its map"};
  if (code == ENOSPC || code == EDQUOT) return errno_error(what, code, Errc::no_space);
  if (code > 0) return errno_error(what, code);
  return Error{Errc::local_io, std::string(what) + ": " + mdb_strerror(code)};
}

MDB_val val(ByteView bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
ByteView view(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

struct TxnEnd {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
using TxnPtr = std::unique_ptr<MDB_txn, TxnEnd>;

struct CursorEnd {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
using CursorPtr = std::unique_ptr<MDB_cursor, CursorEnd>;

}  // namespace

Result<std::shared_ptr<IndexFile>> IndexFile::open(const std::string& folder, ByteCount map_bytes) {
  MDB_env* env = nullptr;
  if (int failed = mdb_env_create(&env)) return lmdb_error("cannot open the index", failed);
  std::shared_ptr<IndexFile> file(new IndexFile(env));
  mdb_env_set_maxdbs(env, kTableCount);
  mdb_env_set_maxreaders(env, 32);
  mdb_env_set_mapsize(env, map_bytes);
  if (int failed = mdb_env_open(env, folder.c_str(), MDB_NOTLS, 0600))
    return lmdb_error(("cannot open the index in " + folder).c_str(), failed);
  int dead = 0;
  mdb_reader_check(env, &dead);
  if (auto opened = file->open_tables(); !opened) return std::move(opened).error();
  return file;
}

Result<Ok> IndexFile::open_tables() {
  MDB_txn* txn = nullptr;
  if (int failed = mdb_txn_begin(env_, nullptr, 0, &txn))
    return lmdb_error("cannot begin in the index", failed);
  for (std::size_t i = 0; i < kTableCount; ++i) {
    if (int failed = mdb_dbi_open(txn, kTableNames[i], MDB_CREATE, &tables_[i])) {
      mdb_txn_abort(txn);
      return lmdb_error("cannot open a table of the index", failed);
    }
  }
  if (int failed = mdb_txn_commit(txn)) return lmdb_error("cannot write the index", failed);
  return Ok{};
}

IndexFile::~IndexFile() {
  if (reader_ != nullptr) mdb_txn_abort(reader_);
  mdb_env_close(env_);
}

std::optional<std::string> IndexFile::get(Table table, ByteView key) {
  const int failed =
      reader_ != nullptr ? mdb_txn_renew(reader_) : mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reader_);
  if (failed) {
    if (reader_ != nullptr) mdb_txn_abort(std::exchange(reader_, nullptr));
    return std::nullopt;
  }
  MDB_val wanted = val(key);
  MDB_val found{};
  std::optional<std::string> answer;
  const auto number = static_cast<std::size_t>(table);
  if (mdb_get(reader_, tables_[number], &wanted, &found) == 0) {
    if (auto payload = open_value(table, key, view(found)))
      answer.emplace(*payload);
    else
      bad_rows_.fetch_add(1, std::memory_order_relaxed);
  }
  mdb_txn_reset(reader_);
  return answer;
}

bool IndexFile::scan(Table table, ByteView from, const RowFunction& row) const {
  MDB_txn* begun = nullptr;
  if (mdb_txn_begin(env_, nullptr, MDB_RDONLY, &begun) != 0) return false;
  TxnPtr txn(begun);
  MDB_cursor* opened = nullptr;
  if (mdb_cursor_open(txn.get(), tables_[static_cast<std::size_t>(table)], &opened) != 0) return false;
  CursorPtr cursor(opened);
  MDB_val key = val(from);
  MDB_val value{};
  bool is_whole = true;
  int end = mdb_cursor_get(cursor.get(), &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  for (; end == 0; end = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    auto payload = open_value(table, view(key), view(value));
    if (!payload) {
      is_whole = false;
      bad_rows_.fetch_add(1, std::memory_order_relaxed);
    } else if (!row(view(key), *payload)) {
      break;
    }
  }
  return is_whole && (end == 0 || end == MDB_NOTFOUND);
}

Result<Ok> IndexFile::write(const std::vector<IndexChange>& changes) {
  MDB_txn* begun = nullptr;
  if (int failed = mdb_txn_begin(env_, nullptr, 0, &begun))
    return lmdb_error("cannot begin in the index", failed);
  TxnPtr txn(begun);
  for (const auto& change : changes) {
    const auto dbi = tables_[static_cast<std::size_t>(change.table)];
    MDB_val key = val(change.key);
    int failed = 0;
    if (change.value) {
      const std::string sealed = seal_value(change.table, change.key, *change.value);
      MDB_val value = val(sealed);
      failed = mdb_put(txn.get(), dbi, &key, &value, 0);
    } else {
      failed = mdb_del(txn.get(), dbi, &key, nullptr);
      if (failed == MDB_NOTFOUND) failed = 0;
    }
    if (failed) return lmdb_error("cannot write the index", failed);
  }
  if (int failed = mdb_txn_commit(txn.release())) return lmdb_error("cannot write the index", failed);
  return Ok{};
}

Result<Ok> IndexFile::grow() {
  if (reader_ != nullptr) mdb_txn_abort(std::exchange(reader_, nullptr));
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  if (int failed = mdb_env_set_mapsize(env_, info.me_mapsize * 2))
    return lmdb_error("cannot grow the index", failed);
  return Ok{};
}

}  // namespace layerd::cache
