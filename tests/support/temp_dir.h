// A folder of its own for one test, removed with everything in it when the object goes.
#pragma once

#include <string>
#include <string_view>

namespace layerd::test {

class TempDir {
 public:
  explicit TempDir(std::string_view name = "layerd-test");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view leaf) const { return path_ + "/" + std::string(leaf); }

 private:
  std::string path_;
};

// Makes the folders above `path` as needed. Ends the test when the disk refuses.
void write_text(const std::string& path, std::string_view text);
// The whole file, or an empty string when there is none.
std::string read_text(const std::string& path);

}  // namespace layerd::test
