#include "proxy/registry/range.h"

#include <string>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;
using Kind = RangeOutcome::Kind;

TEST_CASE("a Range header becomes ranges, the whole, or 416") {
  struct Row {
    std::string header;
    ByteCount size;
    Kind kind;
    std::vector<ByteRange> ranges;
  };
  const Row rows[] = {
      {"bytes=0-", 100, Kind::ranges, {{0, 100}}},
      {"bytes=0-0", 100, Kind::ranges, {{0, 1}}},
      {"bytes=10-19", 100, Kind::ranges, {{10, 20}}},
      {"bytes=90-1000", 100, Kind::ranges, {{90, 100}}},
      {"bytes=99-", 100, Kind::ranges, {{99, 100}}},
      {"bytes=-5", 100, Kind::ranges, {{95, 100}}},
      {"bytes=-500", 100, Kind::ranges, {{0, 100}}},
      {"Bytes=0-1", 100, Kind::ranges, {{0, 2}}},
      {"bytes=0-1, 5-6 ,, 9-9", 100, Kind::ranges, {{0, 2}, {5, 7}, {9, 10}}},
      {"bytes=9-9,0-1", 100, Kind::ranges, {{9, 10}, {0, 2}}},
      {"bytes=0-5,3-9", 100, Kind::ranges, {{0, 10}}},
      {"bytes=5-9,0-4", 100, Kind::ranges, {{0, 10}}},
      {"bytes=0-1,200-300", 100, Kind::ranges, {{0, 2}}},
      {"bytes=0-18446744073709551615", 100, Kind::ranges, {{0, 100}}},
      {"bytes=0-99999999999999999999999", 100, Kind::ranges, {{0, 100}}},
      {"bytes=100-", 100, Kind::unsatisfiable, {}},
      {"bytes=99999999999999999999999-", 100, Kind::unsatisfiable, {}},
      {"bytes=-0", 100, Kind::unsatisfiable, {}},
      {"bytes=0-", 0, Kind::whole, {}},
      {"bytes=5-2", 100, Kind::whole, {}},
      {"bytes=", 100, Kind::whole, {}},
      {"bytes=-", 100, Kind::whole, {}},
      {"bytes=a-b", 100, Kind::whole, {}},
      {"bytes=0-1,x", 100, Kind::whole, {}},
      {"bytes=1", 100, Kind::whole, {}},
      {"items=0-1", 100, Kind::whole, {}},
      {"bytes 0-1", 100, Kind::whole, {}},
      {"bytes=+1-2", 100, Kind::whole, {}},
      {"", 100, Kind::whole, {}},
  };
  for (const Row& row : rows) {
    INFO(row.header);
    const auto outcome = evaluate_range(row.header, row.size);
    CHECK(outcome.kind == row.kind);
    CHECK(outcome.ranges == row.ranges);
  }
}

TEST_CASE("sixteen ranges are served, more get the whole object") {
  std::string header = "bytes=0-0";
  for (int i = 1; i < 16; ++i) header += "," + std::to_string(i * 10) + "-" + std::to_string(i * 10);
  CHECK(evaluate_range(header, 1000).ranges.size() == 16);
  CHECK(evaluate_range(header + ",500-500", 1000).kind == Kind::whole);
  std::string flood = "bytes=0-0";
  for (int i = 0; i < 5000; ++i) flood += ",0-0";
  CHECK(evaluate_range(flood, 1000).kind == Kind::whole);
}

TEST_CASE("the first wanted byte is known before the size") {
  CHECK(first_wanted_byte("bytes=7-") == 7u);
  CHECK(first_wanted_byte("bytes=-7") == std::nullopt);
  CHECK(first_wanted_byte("x") == std::nullopt);
}

TEST_CASE("conditions compare the quoted digest") {
  const auto digest = digest_of(DigestAlgorithm::sha256, "x");
  const auto other = etag_of(digest_of(DigestAlgorithm::sha256, "y"));
  const auto own = etag_of(digest);
  CHECK(own == "\"" + digest.str() + "\"");
  CHECK(if_range_holds(own, digest));
  CHECK_FALSE(if_range_holds("W/" + own, digest));
  CHECK_FALSE(if_range_holds(digest.str(), digest));
  CHECK_FALSE(if_range_holds("Sun, 06 Nov 1994 08:49:37 GMT", digest));
  CHECK(if_none_match_hits(own, digest));
  CHECK(if_none_match_hits("*", digest));
  CHECK(if_none_match_hits("W/" + own, digest));
  CHECK(if_none_match_hits(other + " , W/\"a,b\"," + own, digest));
  CHECK_FALSE(if_none_match_hits(other, digest));
  CHECK_FALSE(if_none_match_hits("", digest));
  CHECK_FALSE(if_none_match_hits("\"unclosed", digest));
  CHECK_FALSE(if_none_match_hits(digest.str(), digest));
}

TEST_CASE("Content-Range is written and read strictly") {
  CHECK(content_range({0, 10}, 100) == "bytes 0-9/100");
  CHECK(unsatisfied_range(100) == "bytes */100");
  const auto parsed = parse_content_range("bytes 5-9/100");
  REQUIRE(parsed);
  CHECK(parsed->range == ByteRange{5, 10});
  CHECK(parsed->size == 100u);
  CHECK(parse_content_range("bytes 5-9/*")->size == std::nullopt);
  CHECK(parse_content_range("bytes */7")->range == std::nullopt);
  for (const char* bad : {"", "bytes", "bytes 5-9", "bytes 9-5/100", "bytes 5-100/100", "bytes -9/100",
                          "bytes 5-/100", "bytes */*", "items 0-1/2", "bytes 0-1/2,", "bytes 0 - 1/2",
                          "bytes 0-1/-2", "bytes 0-18446744073709551615/*"}) {
    INFO(bad);
    CHECK_FALSE(parse_content_range(bad));
  }
}

TEST_CASE("the length of a multipart body is the length of what is sent") {
  const std::string object(100, 'x');
  const auto plan = plan_multipart({{0, 2}, {50, 60}}, 100, "application/octet-stream", "BOUNDARY");
  std::string body;
  for (const auto& [head, range] : plan.parts) body += head + object.substr(range.first, range.size());
  body += plan.trailer;
  CHECK(plan.length == body.size());
  CHECK(plan.content_type == "multipart/byteranges; boundary=BOUNDARY");
  CHECK(body ==
        "--BOUNDARY\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/100\r\n\r\nxx"
        "\r\n--BOUNDARY\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
        "50-59/100\r\n\r\nxxxxxxxxxx"
        "\r\n--BOUNDARY--\r\n");
}
