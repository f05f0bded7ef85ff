// What is noticed of files that change, and of links that are set anew.
#include "daemon/file_watch.h"

#include <filesystem>
#include <optional>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;
namespace fs = std::filesystem;

namespace {

struct Watched {
  explicit Watched(std::vector<std::string> paths) {
    watch.emplace(loop, [this] { ++changes; });
    std::vector<net::FileStamp> stamps;
    for (const auto& path : paths) stamps.push_back(net::FileStamp::of(path));
    watch->watch(std::move(stamps));
  }
  ~Watched() {
    watch.reset();
    loop.close();
  }
  // Runs the loop for a while: past the looks that follow a stir, well before the slow one.
  void rest() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);
    while (std::chrono::steady_clock::now() < end) loop.run_once(std::chrono::milliseconds(10));
  }
  bool noticed() {
    const int before = changes;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(8);
    while (changes == before && std::chrono::steady_clock::now() < end)
      loop.run_once(std::chrono::milliseconds(10));
    return changes > before;
  }

  UvLoop loop;
  int changes = 0;
  std::optional<FileWatch> watch;
};

void swap_link(const std::string& link, const std::string& target) {
  fs::create_symlink(target, link + ".new");
  fs::rename(link + ".new", link);
}

}  // namespace

TEST_CASE("a file written, replaced, removed and made again is noticed each time, its neighbour is not") {
  TempDir dir;
  const std::string path = dir / "config.yaml";
  write_text(path, "a");
  Watched watched({path});
  watched.rest();
  CHECK(watched.changes == 0);
  write_text(path, "ab");
  CHECK(watched.noticed());
  write_text(dir / "fresh", "abc");
  fs::rename(dir / "fresh", path);
  CHECK(watched.noticed());
  fs::remove(path);
  CHECK(watched.noticed());
  write_text(path, "back");
  CHECK(watched.noticed());
  write_text(dir / "neighbour", "x");
  watched.rest();
  CHECK(watched.changes == 4);
}

TEST_CASE("a mounted secret is noticed when kubernetes swaps the link to its folder") {
  TempDir dir;
  fs::create_directories(dir / "..1");
  fs::create_directories(dir / "..2");
  write_text(dir / "..1/config.yaml", "same length");
  write_text(dir / "..2/config.yaml", "other bytes");
  fs::create_symlink("..1", dir / "..data");
  fs::create_symlink("..data/config.yaml", dir / "config.yaml");
  fs::create_symlink(dir / "config.yaml", dir / "outside.yaml");
  Watched watched({dir / "outside.yaml"});
  swap_link(dir / "..data", "..2");
  CHECK(watched.noticed());
  fs::remove_all(dir / "..1");
  watched.rest();
  CHECK(watched.changes == 1);
}

TEST_CASE("a file whose folder is not there yet is noticed when it comes") {
  TempDir dir;
  Watched watched({dir / "etc/layerd/config.yaml"});
  fs::create_directories(dir / "etc/layerd");
  watched.rest();
  write_text(dir / "etc/layerd/config.yaml", "a: b");
  CHECK(watched.noticed());
}

TEST_CASE("a change between reading a file and watching it is noticed") {
  TempDir dir;
  write_text(dir / "config.yaml", "a");
  const auto before = net::FileStamp::of(dir / "config.yaml");
  write_text(dir / "config.yaml", "abc");
  Watched watched({});
  watched.watch->watch({before});
  CHECK(watched.noticed());
}

TEST_CASE("a file that is still being written is waited for, but not for ever") {
  TempDir dir;
  const std::string path = dir / "config.yaml";
  write_text(path, "");
  Watched watched({path});
  std::string text;
  // Grows at every look: after some of them it is taken as it is.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(8);
  while (watched.changes == 0 && std::chrono::steady_clock::now() < end) {
    write_text(path, text += "x");
    watched.loop.run_once(std::chrono::milliseconds(5));
  }
  CHECK(watched.changes == 1);
  CHECK(text.size() > 20);  // not at the first look
}

TEST_CASE("the folders that decide what a path names are those of the file and of each link on its way") {
  TempDir dir;
  const std::string real = fs::canonical(dir.path());
  fs::create_directories(real + "/a/b");
  fs::create_directories(real + "/c");
  write_text(real + "/a/b/file", "x");
  fs::create_symlink("../a/./b", real + "/c/link");
  CHECK(deciding_folders(real + "/c/link/file") == std::vector<std::string>{real + "/a/b", real + "/c"});
  CHECK(deciding_folders(real + "/c/none/file") == std::vector<std::string>{real + "/c"});
  fs::create_symlink("loop", real + "/loop");
  CHECK(deciding_folders(real + "/loop/file") == std::vector<std::string>{real});
}
