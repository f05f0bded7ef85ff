// Which files the root helper would open.
#include "systemd/opener.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd::test;
using layerd::systemd::check_way;
namespace fs = std::filesystem;

TEST_CASE("a way to a file is safe only when nobody else can change what it leads to") {
  TempDir dir("layerd-opener");
  const uid_t us = ::geteuid();
  fs::create_directories(dir / "a/b");
  write_text(dir / "a/b/file", "x");
  REQUIRE(::chmod((dir / "a/b/file").c_str(), 0600) == 0);
  fs::create_symlink("a/b", dir / "link");
  fs::create_symlink("loop", dir / "loop");
  CHECK(check_way(dir / "a/b/file", us).ok());
  CHECK(check_way(dir / "link/file", us).ok());
  CHECK(check_way("/etc/passwd", us).ok());
  CHECK_FALSE(check_way(dir / "a/none", us).ok());
  CHECK_FALSE(check_way(dir / "loop", us).ok());
  CHECK_FALSE(check_way("", us).ok());
  // A folder that others may write, directly and behind a link.
  REQUIRE(::chmod((dir / "a").c_str(), 0775) == 0);
  CHECK(check_way(dir / "a/b/file", us).error().message == "others than root may write " + (dir / "a"));
  CHECK_FALSE(check_way(dir / "link/file", us).ok());
  REQUIRE(::chmod((dir / "a").c_str(), 01777) == 0);
  CHECK(check_way(dir / "a/b/file", us).ok());  // as /tmp: others cannot rename what is ours
  REQUIRE(::chmod((dir / "a/b/file").c_str(), 0602) == 0);
  CHECK_FALSE(check_way(dir / "a/b/file", us).ok());
}
