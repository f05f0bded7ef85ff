// `layerd peers secret`.
#include "daemon/peers_secret_command.h"

#include <sys/stat.h>

#include "proxy/net/peer_secret.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;

TEST_CASE("a secret goes into a file that only its owner may read, and never over another one") {
  test::TempDir dir;
  const std::string file = dir / "secret";
  REQUIRE(peers_secret_command(file) == 0);
  struct stat found {};
  REQUIRE(::stat(file.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
  CHECK(net::PeerSecret::read(file));
  const std::string before = test::read_text(file);
  CHECK(peers_secret_command(file) == 1);
  CHECK(test::read_text(file) == before);
  CHECK(peers_secret_command(dir / "no/such/folder/secret") == 1);
}
