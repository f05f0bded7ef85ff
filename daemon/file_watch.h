// FileWatch: tells when one of a few files is another one than before: written, replaced, removed, made, or
// a link on the way to it set anew (that is how kubernetes swaps the files of a mounted secret).
//
// The kernel tells of the folders that hold the file and every link on its way; then the files are looked
// at until two looks agree, so that a file that is being written is not taken half. File systems that tell
// nothing, and renamed folders further up, are noticed by a look every 10 s. Loop thread; a look is a stat
// per file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/file_stamp.h"
#include "runtime/folder_watch.h"

namespace layerd::daemon {

// The folders whose entries decide which file `path` names: those of the file and of every link on the way.
// Where the way ends early, the last folder there is.
std::vector<std::string> deciding_folders(const std::string& path);

class FileWatch {
 public:
  // `changed` may call watch().
  FileWatch(UvLoop& loop, Callback<void()> changed);
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // From now on these, and only these. A file that is not any more what its stamp says is told of soon.
  void watch(std::vector<net::FileStamp> files);

 private:
  void stirred();
  void look_after(Duration wait);
  void look();
  void watch_folders();
  std::vector<net::FileStamp> stamps_now() const;

  UvLoop& loop_;
  Callback<void()> changed_;
  std::vector<net::FileStamp> known_;
  std::vector<net::FileStamp> seen_;  // at the last look that found a change
  int unsettled_ = 0;                 // looks that found yet another state
  bool is_blind_ = false;             // a folder cannot be watched
  std::vector<std::unique_ptr<FolderWatch>> folders_;
  Ticket soon_, slow_;
};

// Watches one file from now on, until the Ticket is dropped. `changed` may not drop it.
Ticket watch_file(UvLoop& loop, const std::string& path, Callback<void()> changed);

}  // namespace layerd::daemon
