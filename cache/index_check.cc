// The walk over an index that was not closed properly. It runs in a child process, since LMDB
// follows damaged page numbers wherever they lead; the child's death is an answer too.
#include <lmdb.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "cache/index_file.h"
#include "cache/index_value.h"

namespace layerd::cache {
namespace {

ByteView view(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

// What is known of the whole file while walking.
struct Walk {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  std::vector<bool> used;  // pages seen to hold rows
  const char* map = nullptr;
  std::size_t page_size = 4096;
  std::size_t pages = 0;
  std::size_t accounted = 2;  // the two meta pages
};

bool mark_page_of(Walk& walk, const MDB_val& value) {
  const auto* at = static_cast<const char*>(value.mv_data);
  if (at < walk.map || at + value.mv_size > walk.map + walk.pages * walk.page_size) return false;
  const auto first = static_cast<std::size_t>(at - walk.map);
  const auto last = first + (value.mv_size ? value.mv_size - 1 : 0);
  for (auto page = first / walk.page_size; page <= last / walk.page_size && page < walk.pages; ++page)
    walk.used[page] = true;
  return true;
}

// Every page begins with its own number, and keys lie on pages of their own tree.
const char* map_start(const MDB_val& key, std::size_t page_size) {
  const auto address = reinterpret_cast<std::uintptr_t>(key.mv_data);
  const auto* page = static_cast<const char*>(key.mv_data) - address % page_size;
  std::size_t number = 0;
  std::memcpy(&number, page, sizeof number);
  return page - number * page_size;
}

void account(Walk& walk, const MDB_stat& stat) {
  walk.accounted += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

// Every row must be found both by the cursor, in order, and by its key, with the same bytes.
bool walk_table(Walk& walk, Table table) {
  MDB_dbi dbi = 0;
  const auto* name = kTableNames[static_cast<std::size_t>(table)];
  if (mdb_dbi_open(walk.txn, name, 0, &dbi) != 0) return false;
  MDB_cursor* cursor = nullptr;
  MDB_stat stat{};
  if (mdb_stat(walk.txn, dbi, &stat) != 0 || mdb_cursor_open(walk.txn, dbi, &cursor) != 0) return false;
  account(walk, stat);
  std::size_t rows = 0;
  std::string previous;
  MDB_val key{}, value{};
  int end = 0;
  while ((end = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    if (++rows > stat.ms_entries || !mark_page_of(walk, key) || !mark_page_of(walk, value)) return false;
    if (!open_value(table, view(key), view(value))) return false;
    if (rows > 1 && view(key) <= previous) return false;
    previous.assign(view(key));
    MDB_val again{};
    if (mdb_get(walk.txn, dbi, &key, &again) != 0 || again.mv_data != value.mv_data) return false;
  }
  return end == MDB_NOTFOUND && rows == stat.ms_entries;
}

// A page that is both free and used would be overwritten by the next commit.
bool free_list_is_sound(Walk& walk) {
  MDB_cursor* cursor = nullptr;
  MDB_stat stat{};
  if (mdb_stat(walk.txn, 0, &stat) != 0 || mdb_cursor_open(walk.txn, 0, &cursor) != 0) return false;
  account(walk, stat);
  MDB_val key{}, value{};
  int end = 0;
  while ((end = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    if (!mark_page_of(walk, key) || key.mv_size != sizeof(std::size_t)) return false;
    std::vector<std::size_t> list(value.mv_size / sizeof(std::size_t));
    if (list.empty()) return false;
    std::memcpy(list.data(), value.mv_data, list.size() * sizeof(std::size_t));
    if (list[0] + 1 > list.size()) return false;
    for (std::size_t i = 1; i <= list[0]; ++i) {
      if (list[i] < 2 || list[i] >= walk.pages || walk.used[list[i]]) return false;
      walk.used[list[i]] = true;
    }
    walk.accounted += list[0];
  }
  return end == MDB_NOTFOUND && walk.accounted <= walk.pages;
}

}  // namespace

bool IndexFile::walk(const std::string& folder) {
  Walk walk;
  if (mdb_env_create(&walk.env) != 0) return false;
  mdb_env_set_maxdbs(walk.env, kTableCount);
  if (mdb_env_open(walk.env, folder.c_str(), MDB_RDONLY | MDB_NOLOCK, 0600) != 0) return false;
  if (mdb_txn_begin(walk.env, nullptr, MDB_RDONLY, &walk.txn) != 0) return false;
  MDB_envinfo info{};
  MDB_stat stat{};
  if (mdb_env_info(walk.env, &info) != 0 || mdb_env_stat(walk.env, &stat) != 0) return false;
  account(walk, stat);  // the main table: one row for each table
  walk.page_size = stat.ms_psize;
  walk.pages = info.me_last_pgno + 1;
  if (walk.page_size == 0 || walk.pages > info.me_mapsize / walk.page_size) return false;
  walk.used.resize(walk.pages);
  MDB_cursor* cursor = nullptr;
  MDB_val key{}, value{};
  if (mdb_cursor_open(walk.txn, 1, &cursor) != 0) return false;
  if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) != 0) return false;
  walk.map = map_start(key, walk.page_size);
  for (std::size_t i = 0; i < kTableCount; ++i)
    if (!walk_table(walk, static_cast<Table>(i))) return false;
  return free_list_is_sound(walk);
}

// The parent may have threads already (the log's, the workers'): the child calls nothing but system calls,
// LMDB and malloc, which glibc keeps usable across fork, and ends by _exit.
std::optional<bool> index_is_sound(const std::string& folder, Duration most) {
  const auto end = std::chrono::steady_clock::now() + most;
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_DUMPABLE, 0);
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGINT, SIGHUP})
      ::signal(number, SIG_DFL);
    ::_exit(IndexFile::walk(folder) ? 0 : 1);
  }
  while (std::chrono::steady_clock::now() < end) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended < 0) return false;
    const timespec moment{0, 1'000'000};
    ::nanosleep(&moment, nullptr);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return std::nullopt;
}

}  // namespace layerd::cache
