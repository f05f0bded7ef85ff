// Site secrets: what a file may hold, and what is said where it may not.
#include <sys/stat.h>

#include "proxy/net/peer_secret.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

using net::PeerSecret;

const std::string kHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const std::string kSame = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

std::string refusal(std::string_view text) {
  const auto secrets = PeerSecret::parse_all(text);
  REQUIRE_FALSE(secrets);
  CHECK(secrets.error().code == Errc::config);
  return secrets.error().message;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a secret that was made is one that is taken, and no two are alike") {
  const std::string line = PeerSecret::make();
  CHECK(line.size() == 44);
  const auto secret = PeerSecret::parse(line);
  REQUIRE(secret);
  CHECK(secret->key().size() == 32);
  CHECK(secret->name().size() == 16);
  CHECK(PeerSecret::make() != line);
}

TEST_CASE("hex and base64 of the same bytes are the same secret, whose name does not show it") {
  const auto hex = PeerSecret::parse(kHex), base64 = PeerSecret::parse(kSame);
  REQUIRE(hex);
  REQUIRE(base64);
  CHECK(hex->name() == base64->name());
  CHECK(hex->key() == base64->key());
  CHECK_FALSE(has(kHex, hex->name()));
  CHECK_FALSE(has(hex->key(), hex->name()));
}

TEST_CASE("a file of secrets has one or two, with comments and empty lines between them") {
  const std::string other = PeerSecret::make();
  const auto secrets = PeerSecret::parse_all("# made for the site\n\n  " + kHex + "\r\n" + other);
  REQUIRE(secrets);
  REQUIRE(secrets->size() == 2);
  CHECK((*secrets)[0].name() == PeerSecret::parse(kHex)->name());
}

TEST_CASE("what is no secret is refused with the line, the cause and the remedy, and is not repeated") {
  CHECK(has(refusal(""), "no secret in it; make one with: layerd peers secret"));
  CHECK(has(refusal("# nothing\n"), "no secret"));
  const std::string rubbish = refusal(kHex + "\nhunter2 is my password!\n");
  CHECK(has(rubbish, "line 2"));
  CHECK(has(rubbish, "neither base64 nor hex"));
  CHECK_FALSE(has(rubbish, "hunter2"));
  CHECK(has(refusal(kHex.substr(0, 62)), "31 bytes and 32 are the least"));
  CHECK(has(refusal("c2hvcnQ="), "5 bytes and 32 are the least"));
  CHECK(has(refusal(std::string(64, 'a')), "not random"));
  CHECK(has(refusal(std::string(600, 'a') + "bcdefgh0"), "more than 256 bytes"));
  CHECK(has(refusal(kHex + "\n" + kSame + "\n" + kHex), "line 3: more than 2"));
}

TEST_CASE("a secret that everybody may read is no secret") {
  TempDir dir;
  const std::string path = dir / "secret";
  write_text(path, kHex + "\n");
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  const auto open = PeerSecret::read(path);
  REQUIRE_FALSE(open);
  CHECK(has(open.error().message, path));
  CHECK(has(open.error().message, "mode 0644"));
  CHECK(has(open.error().message, "chmod o= " + path));
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  CHECK(PeerSecret::read(path));
  const auto missing = PeerSecret::read(dir / "nowhere");
  REQUIRE_FALSE(missing);
  CHECK(has(missing.error().message, "nowhere"));
}

}  // namespace layerd::test
