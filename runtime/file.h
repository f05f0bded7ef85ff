// An open file with a name for messages. Worker side unless said; read_at_once is for the loop.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/result.h"

namespace layerd {

// Closes its descriptor when the last owner lets go.
class File {
 public:
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();
  // flags as for open(2); O_CLOEXEC is added.
  static Result<std::shared_ptr<File>> open(const std::string& path, int flags, mode_t mode = 0600);

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

  // Exactly the bytes present in [offset, offset + max): fewer at the end of the file. Blocks.
  Result<Bytes> read_at(ByteCount offset, std::size_t max) const;
  // The same without blocking, from the page cache; nothing if a page is cold or the kernel cannot
  // tell (preadv2 RWF_NOWAIT). Loop thread.
  std::optional<Bytes> read_at_once(ByteCount offset, std::size_t max) const;
  // All of it or an error: no_space for ENOSPC, EDQUOT and EFBIG, local_io otherwise. Blocks.
  Result<Ok> write_at(ByteCount offset, ByteView bytes) const { return write_at(offset, std::vector{bytes}); }
  // The same for pieces that lie one behind the other in the file: one call of the system.
  Result<Ok> write_at(ByteCount offset, const std::vector<ByteView>& pieces) const;
  Result<Ok> sync(bool data_only) const;

  // The errno of a read that the disk refused to somebody who cannot tell the owner himself (sendfile).
  void note_read_error(int code) { read_error_ = code; }
  // The last one since the last call; 0: none. Both any thread.
  int take_read_error() { return read_error_.exchange(0); }

 private:
  std::atomic<int> read_error_{0};
  int fd_;
  std::string path_;
};

using FilePtr = std::shared_ptr<File>;

// A whole small file. Errors name the path. Blocks.
Result<std::string> read_all(const File& file, std::size_t most);
Result<std::string> read_file(const std::string& path, std::size_t most = 16u << 20);
// Writes beside the file, fsyncs, renames over it, fsyncs the folder. Blocks.
Result<Ok> replace_file(const std::string& path, ByteView content, mode_t mode = 0600);

}  // namespace layerd
