// File operations that fail on demand and forget, on demand, what was not synced: the model of a
// full disk, a sick disk and a power loss. Any thread.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cache/file_ops.h"

namespace layerd::test {

class FaultyFiles final : public cache::FileOps {
 public:
  std::atomic<int> good_writes{-1};  // after so many writes each one fails; below zero: none fails
  std::atomic<int> fails_with{ENOSPC};
  std::atomic<bool> keeps_files{false};    // removing fails with EROFS
  std::atomic<bool> loses_syncs{false};    // syncing a file fails with EIO
  std::atomic<bool> loses_folders{false};  // syncing a folder fails with EIO
  std::atomic<bool> bad_sectors{false};    // reading a finished blob fails with bad_with
  std::atomic<int> bad_with{EIO};
  std::atomic<int> closed_with{0};     // opening a finished blob fails; zero: it does not
  std::atomic<int> journal_reads{-1};  // after so many reads of the journal the next one waits
  std::atomic<ByteCount> disk_total{0}, disk_free{0};  // zero total: ask the kernel
  std::string boot = "boot-1";                         // changed only while no store is open

  Result<FilePtr> open(const std::string& path, int flags, mode_t mode = 0600) override {
    if (closed_with != 0 && path.find("/blobs/") != std::string::npos)
      return errno_error("cannot open " + path, closed_with);
    return FileOps::open(path, flags, mode);
  }
  Result<Ok> sync_folder(const std::string& path) override {
    if (loses_folders) return errno_error("cannot sync the folder " + path, EIO);
    return FileOps::sync_folder(path);
  }
  Result<Ok> write_pieces(const File& file, ByteCount offset, const std::vector<ByteView>& pieces) override {
    const int left = good_writes.load();
    if (left == 0) {
      const int failed = fails_with.load();
      return errno_error("cannot write " + file.path(), failed,
                         failed == ENOSPC ? Errc::no_space : Errc::local_io);
    }
    if (left > 0) --good_writes;
    std::size_t size = 0;
    for (const auto piece : pieces) size += piece.size();
    remember(file, offset, size);
    return FileOps::write_pieces(file, offset, pieces);
  }
  Result<Bytes> read_at(const File& file, ByteCount offset, std::size_t max) override {
    if (file.path().ends_with("/journal")) {
      while (journal_reads == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (journal_reads > 0) --journal_reads;
    }
    if (bad_sectors && file.path().find("/blobs/") != std::string::npos)
      return errno_error("cannot read " + file.path(), bad_with);
    return FileOps::read_at(file, offset, max);
  }
  Result<Ok> remove(const std::string& path) override {
    if (keeps_files) return errno_error("cannot remove " + path, EROFS);
    return FileOps::remove(path);
  }
  Result<Ok> sync(const File& file, bool data_only) override {
    if (loses_syncs) return errno_error("cannot sync " + file.path(), EIO);
    const std::lock_guard lock(mutex_);
    unsynced_.erase(file.path());
    return FileOps::sync(file, data_only);
  }
  Result<Ok> rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    if (auto node = unsynced_.extract(from)) {
      node.key() = to;
      unsynced_.insert(std::move(node));
    }
    return FileOps::rename(from, to);
  }
  Result<cache::DiskSpace> space(const std::string& path) override {
    if (disk_total == 0) return FileOps::space(path);
    return cache::DiskSpace{disk_total, disk_free};
  }
  std::string boot_id() override { return boot; }

  // Every write since the last sync of its file is undone, and the kernel has booted anew. The kernel writes
  // in any order: of files with `written` in their path it had everything on the disk in time.
  void lose_power(const std::string& written = "no file") {
    const std::lock_guard lock(mutex_);
    for (auto& [path, writes] : unsynced_) {
      if (path.find(written) != std::string::npos) continue;
      const int fd = ::open(path.c_str(), O_RDWR);
      if (fd < 0) continue;
      for (auto write = writes.rbegin(); write != writes.rend(); ++write) {
        if (::pwrite(fd, write->before.data(), write->before.size(), static_cast<off_t>(write->offset)) < 0)
          break;
        if (::ftruncate(fd, static_cast<off_t>(write->size_before)) != 0) break;
      }
      ::close(fd);
    }
    unsynced_.clear();
    boot += "+";
  }

 private:
  struct Write {
    ByteCount offset;
    std::string before;
    ByteCount size_before;
  };
  void remember(const File& file, ByteCount offset, std::size_t size) {
    const std::lock_guard lock(mutex_);
    Write write{offset, std::string(size, '\0'), 0};
    const auto got = ::pread(file.fd(), write.before.data(), size, static_cast<off_t>(offset));
    write.before.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    write.size_before = static_cast<ByteCount>(::lseek(file.fd(), 0, SEEK_END));
    unsynced_[file.path()].push_back(std::move(write));
  }
  std::mutex mutex_;
  std::map<std::string, std::vector<Write>> unsynced_;  // guarded by mutex_
};

}  // namespace layerd::test
