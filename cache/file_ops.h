// The calls the store makes on files, in one place, so that tests can make them fail or forget.
// Any thread; implementations hold no state of the store. Worker side: every call may block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/file.h"
#include "runtime/result.h"

namespace layerd::cache {

// What tells that a file has been changed behind our back.
struct FileFacts {
  ByteCount size = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileFacts&) const = default;
};

struct DiskSpace {
  ByteCount total = 0;
  ByteCount free = 0;  // for us, not for root
};

struct FolderEntry {
  std::string name;
  FileFacts facts;
};

// Errors everywhere: no_space for ENOSPC and EDQUOT, not_found for ENOENT, else local_io with errno.
class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual Result<FilePtr> open(const std::string& path, int flags, mode_t mode = 0600);
  virtual Result<Bytes> read_at(const File& file, ByteCount offset, std::size_t max);
  // The same, without pushing what others read out of the page cache: pages that were not in memory before
  // do not stay there.
  virtual Result<Bytes> read_at_gently(const File& file, ByteCount offset, std::size_t max);
  // Pieces that lie one behind the other.
  virtual Result<Ok> write_pieces(const File& file, ByteCount offset, const std::vector<ByteView>& pieces);
  Result<Ok> write_at(const File& file, ByteCount offset, ByteView bytes) {
    return write_pieces(file, offset, {bytes});
  }
  virtual Result<Ok> truncate(const File& file, ByteCount size);
  virtual Result<Ok> sync(const File& file, bool data_only);
  virtual Result<Ok> sync_folder(const std::string& path);
  virtual Result<Ok> rename(const std::string& from, const std::string& to);
  // A file that is not there is no error.
  virtual Result<Ok> remove(const std::string& path);
  // The folder and all above it; it may exist already.
  virtual Result<Ok> make_folder(const std::string& path);
  virtual Result<FileFacts> facts(const std::string& path);
  virtual Result<FileFacts> facts(const File& file);
  // Regular files directly in `path`, at most `most` of them.
  virtual Result<std::vector<FolderEntry>> list(const std::string& path, std::size_t most);
  virtual Result<DiskSpace> space(const std::string& path);
  // Changes with every boot of the kernel: what was not synced under another one may be gone.
  virtual std::string boot_id();
};

using FileOpsPtr = std::shared_ptr<FileOps>;

}  // namespace layerd::cache
