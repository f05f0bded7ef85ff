// The way to what a path names, entry by entry, as the kernel goes it. Any thread; blocks on lstat(2).
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

namespace layerd {

struct PathStep {
  std::string folder;  // that holds the entry
  std::string entry;   // its whole path
  struct stat found {};
  bool is_there = false;
  bool is_link = false;
  bool is_last = false;  // what the path names in the end
};

// Folders, links, then what the links lead to. Ends when `visit` answers false, at an entry that is not
// there, and after 40 links. A relative path begins at the working folder.
void walk_path(const std::string& path, const std::function<bool(const PathStep&)>& visit);

}  // namespace layerd
