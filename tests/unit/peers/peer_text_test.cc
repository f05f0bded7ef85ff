// Targets and headers between members.
#include "proxy/peers/peer_text.h"

#include "proxy/peers/message_fields.h"
#include "tests/support/catch.h"

namespace layerd::test {

using namespace peers;

TEST_CASE("a blob's target is read as it was written") {
  const UnitName unit{{"reg.example:5000", "team/app", digest_of(DigestAlgorithm::sha256, "x")}, 7, false};
  const auto read = parse_blob_target(blob_target(unit));
  REQUIRE(read);
  CHECK(read->blob.registry == "reg.example:5000");
  CHECK(read->blob.repository == "team/app");
  CHECK(read->blob.digest == unit.blob.digest);
  CHECK(read->unit == 7);
  CHECK_FALSE(read->whole);
}

TEST_CASE("targets that are none are refused") {
  const std::string digest = digest_of(DigestAlgorithm::sha256, "x").str();
  const auto target = [&](const std::string& registry, const std::string& repository,
                          const std::string& rest) {
    return "/peer/v1/blob?registry=" + registry + "&repository=" + repository + "&digest=" + digest + rest;
  };
  CHECK(parse_blob_target(target("docker.io", "library%2Fnginx", "&unit=0&whole=1")));
  CHECK(parse_blob_target(target("docker.io", "a", "&unit=2147483647&whole=0")));
  for (const std::string& text :
       {target("docker.io", "library%2Fnginx", "&unit=1&whole=1"),
        target("docker.io", "UPPER", "&unit=0&whole=0"), target("docker.io", "a%2F..%2Fb", "&unit=0&whole=0"),
        target("", "a", "&unit=0&whole=0"), target("docker.io", "a", "&unit=2147483648&whole=0"),
        target("docker.io", "a", "&unit=-1&whole=0"), target("docker.io", "a", "&unit=0"),
        target("docker.io", "a", "&unit=0&whole=2"), target("docker.io", "a", "&unit=0&whole=0&whole=0"),
        target("docker.io", "%zz", "&unit=0&whole=0"),
        target("docker.io", "a", "&unit=0&whole=0&" + std::string(2048, 'x') + "=1"),
        std::string("/peer/v1/blob")}) {
    INFO(text.substr(0, 200));
    CHECK_FALSE(parse_blob_target(text));
  }
}

TEST_CASE("ranges and paths are strict") {
  CHECK(parse_range(range_text({5, 10})) == ByteRange{5, 10});
  for (const char* text : {"", "bytes=", "bytes=1-", "bytes=-5", "bytes=5-4", "bytes=1-2,3-4", "bits=1-2",
                           "bytes=0-18446744073709551615", "bytes=0-99999999999999999999"}) {
    INFO(text);
    CHECK_FALSE(parse_range(text));
  }
  const std::vector<std::string> ids{"10.0.0.1:5152", "[fd00::1]:5152"};
  CHECK(parse_path(path_text(ids)) == ids);
  CHECK(parse_path("") == std::vector<std::string>{});
  CHECK_FALSE(parse_path("10.0.0.1:5152,"));
  CHECK_FALSE(parse_path("somebody"));
  CHECK_FALSE(parse_path(path_text(std::vector<std::string>(kMostPath + 1, "10.0.0.1:5152"))));
}

TEST_CASE("rights that are not known give none") {
  for (const Rights rights : {Rights::unknown, Rights::open, Rights::node, Rights::client})
    CHECK(parse_rights(word_of(rights)) == rights);
  CHECK(parse_rights("") == Rights::unknown);
  CHECK(parse_rights("OPEN") == Rights::unknown);
}

TEST_CASE("who speaks is read of our version, and only the number of others") {
  const auto ours = parse_calling(text_of(Calling{kVersion, "10.0.0.1:5152", ""}));
  REQUIRE(ours);
  CHECK(ours->id == "10.0.0.1:5152");
  CHECK(ours->site.empty());
  CHECK(parse_calling("2; nobody=knows")->version == 2);
  for (const char* text : {"", "0; id=10.0.0.1:5152; site=", "x", "1", "1; id=a; site=b", "-1", "10000"}) {
    INFO(text);
    CHECK_FALSE(parse_calling(text));
  }
}

}  // namespace layerd::test
