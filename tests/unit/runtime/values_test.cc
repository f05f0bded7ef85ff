#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/backoff.h"
#include "runtime/digest.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "runtime/metrics.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace std::chrono_literals;

TEST_CASE("digests parse only in their canonical form") {
  const std::string empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  auto digest = Digest::parse("sha256:" + empty);
  REQUIRE(digest);
  CHECK(digest->str() == "sha256:" + empty);
  CHECK(*digest == digest_of(DigestAlgorithm::sha256, ""));
  CHECK_FALSE(Digest::parse("sha256:" + empty.substr(1)));
  CHECK_FALSE(Digest::parse("sha256:E" + empty.substr(1)));
  CHECK_FALSE(Digest::parse("sha512:" + empty));
  CHECK_FALSE(Digest::parse("md5:d41d8cd98f00b204e9800998ecf8427e"));
  CHECK(Digest::parse(digest_of(DigestAlgorithm::sha512, "abc").str()));
}

TEST_CASE("a copied hasher goes on from the same state") {
  Hasher hasher(DigestAlgorithm::sha256);
  hasher.update("ab");
  Hasher copy(hasher);
  copy.update("c");
  hasher.update("d");
  CHECK(copy.finish() == digest_of(DigestAlgorithm::sha256, "abc"));
  CHECK(hasher.finish() == digest_of(DigestAlgorithm::sha256, "abd"));
}

TEST_CASE("checksum32 is CRC-32C") { CHECK(checksum32("123456789") == 0xE3069283u); }

TEST_CASE("deep, large and broken JSON is refused with the place") {
  CHECK(parse_json(R"({"a":[1,2,{"b":"]]]"}]})"));
  CHECK_FALSE(parse_json(std::string(100, '[') + std::string(100, ']')));
  CHECK_FALSE(parse_json("[1,2]", {.bytes = 4, .depth = 9}));
  auto broken = parse_json("{\"a\": nope}");
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message.find("byte") != std::string::npos);
  CHECK_FALSE(parse_json("[1e999999]"));
}

TEST_CASE("replace_file leaves the old content or the new one, never a mixture") {
  const auto folder =
      std::filesystem::temp_directory_path() / ("layerd-values-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string path = folder / "state";
  REQUIRE(replace_file(path, "old"));
  REQUIRE(replace_file(path, "new content"));
  CHECK(*read_file(path) == "new content");
  CHECK(read_file(path, 3).error().code == Errc::invalid_request);
  CHECK(read_file(folder / "none").error().code == Errc::not_found);
  auto file = File::open(path, O_RDONLY);
  REQUIRE(file);
  CHECK((*file)->read_at(4, 100)->view() == "content");
  CHECK((*file)->write_at(0, "x").error().code == Errc::local_io);
  std::filesystem::remove_all(folder);
}

TEST_CASE("metrics come out as Prometheus text with escaped labels") {
  Metrics metrics;
  metrics.counter("layerd_test_total", "Things tested.", {{"kind", "a\"b\\c"}}).add(3);
  metrics.counter("layerd_test_total", "Things tested.", {{"kind", "z"}}).add(4);
  metrics.gauge("layerd_level", "How high.").set(-2);
  metrics.histogram("layerd_wait_seconds", "Waits.", {0.1, 1}).observe(0.5);
  const std::string text = metrics.text();
  CHECK(text.find("# HELP layerd_test_total Things tested.\n# TYPE layerd_test_total counter\n") !=
        std::string::npos);
  CHECK(text.find("layerd_test_total{kind=\"a\\\"b\\\\c\"} 3\n") != std::string::npos);
  CHECK(text.find("layerd_level -2\n") != std::string::npos);
  CHECK(text.find("layerd_wait_seconds_bucket{le=\"0.1\"} 0\n") != std::string::npos);
  CHECK(text.find("layerd_wait_seconds_bucket{le=\"1\"} 1\n") != std::string::npos);
  CHECK(text.find("layerd_wait_seconds_bucket{le=\"+Inf\"} 1\n") != std::string::npos);
  CHECK(metrics.total("layerd_test_total") == 7);
}

TEST_CASE("others' text is cut to printable ASCII") {
  CHECK(printable("a\r\nb\x1b[31m\xc3\xa4") == "a  b?[31m??");
  CHECK(printable(std::string(500, 'x')).size() == 200);
}

TEST_CASE("backoff grows with jitter up to its cap and starts again after a reset") {
  Backoff backoff(100ms, 1s, 7);
  Duration last = 0ms;
  for (int i = 0; i < 10; ++i) {
    last = backoff.next();
    CHECK(last <= 1s);
  }
  CHECK(last >= 500ms);
  backoff.reset();
  CHECK(backoff.next() <= 100ms);
}
