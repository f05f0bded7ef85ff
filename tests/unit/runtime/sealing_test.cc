// A key on disk: the same after a restart, for nobody else to read.
#include "runtime/sealing.h"

#include <sys/stat.h>

#include "runtime/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using layerd::test::TempDir;
using layerd::test::write_text;

TEST_CASE("what was sealed is opened under the same key, also after a restart, and under no other") {
  TempDir dir;
  const std::string path = dir / "access.key";
  const auto made = SealingKey::load_or_make(path);
  REQUIRE(made);
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const std::string secret = "name and password";
  const auto sealed = made->seal(secret);
  CHECK(sealed.find("password") == std::string::npos);
  CHECK(made->seal(secret) != sealed);
  const auto again = SealingKey::load_or_make(path);
  REQUIRE(again);
  CHECK(again->open(sealed) == secret);
  CHECK(again->name_of("x") == made->name_of("x"));
  const auto other = SealingKey::temporary();
  CHECK_FALSE(other.open(sealed));
  CHECK(other.name_of("x") != made->name_of("x"));
  CHECK(made->open(made->seal("")) == "");
}

TEST_CASE("a sealed text that was changed or cut is not opened") {
  const auto key = SealingKey::temporary();
  const auto sealed = key.seal("abc");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK_FALSE(key.open(changed));
    CHECK_FALSE(key.open(sealed.substr(0, i)));
  }
}

TEST_CASE("a key file that others could read is closed to them; one that is no key is replaced") {
  TempDir dir;
  const std::string path = dir / "access.key";
  REQUIRE(SealingKey::load_or_make(path));
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  const auto sealed = SealingKey::load_or_make(path)->seal("x");
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  write_text(path, "not a key");
  const auto fresh = SealingKey::load_or_make(path);
  REQUIRE(fresh);
  CHECK_FALSE(fresh->open(sealed));
  CHECK(SealingKey::load_or_make(path)->open(fresh->seal("y")) == "y");
  CHECK_FALSE(SealingKey::load_or_make(dir / "missing/access.key"));
}
