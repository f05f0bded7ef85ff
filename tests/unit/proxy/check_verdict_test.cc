// From what a walk saw to the sentence of cause and the sentence of remedy.
#include "proxy/check_verdict.h"

#include "proxy/check_words.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::proxy;

namespace {

VerdictFacts facts() {
  VerdictFacts known;
  known.host = "registry.cn-hangzhou.aliyuncs.com";
  known.registry = "reg.test";
  known.repository = "ns/app";
  known.reference = "the tag 1";
  known.source = "/etc/layerd/d.json, auths.\"x\"";
  known.other_scheme = "http";
  return known;
}

Error error_of(std::string word, Errc code = Errc::denied) {
  return {code, "it failed", 0, 0, std::move(word), {}};
}

}  // namespace

TEST_CASE("every remedy is filled in, whatever is known") {
  for (const auto& text : diagnoses()) {
    for (const auto& known : {facts(), VerdictFacts{}}) {
      const auto verdict = verdict_of(text.diagnosis, {}, known);
      INFO(verdict.cause << " / " << verdict.remedy);
      for (const char* word :
           {"{host}", "{registry}", "{repository}", "{reference}", "{source}", "{other_scheme}"}) {
        CHECK(verdict.cause.find(word) == std::string::npos);
        CHECK(verdict.remedy.find(word) == std::string::npos);
      }
      CHECK_FALSE(verdict.cause.empty());
    }
  }
}

TEST_CASE("the error's own sentence is the cause") {
  const auto verdict = verdict_of(error_of("credentials_refused"), facts());
  CHECK(code_of(verdict.code) == "credentials_refused");
  CHECK(verdict.cause == "it failed");
  CHECK(verdict.remedy.find("auths.\"x\"") != std::string::npos);
  CHECK(verdict.remedy.find("personal") != std::string::npos);
}

TEST_CASE("a secret that looks odd is told, never shown") {
  auto known = facts();
  known.secret_flaw = flaw_of_secret("s3cret ");
  const auto verdict = verdict_of(error_of("credentials_refused"), known);
  CHECK(verdict.cause == "it failed; the secret is odd: it ends with a space");
  CHECK(verdict.cause.find("s3cret") == std::string::npos);
  CHECK(flaw_of_secret("a\nb") == "there is a line break in it");
  CHECK(flaw_of_secret("\"quoted\"") == "it stands in quotes, which are sent along");
  CHECK(flaw_of_secret("a$b!c@d\"e'").empty());
  CHECK(flaw_of_secret("").find("empty") != std::string::npos);
}

TEST_CASE("http that only leads to https is a wrong scheme, not a missing password") {
  auto known = facts();
  known.redirect = "https://reg.test";
  CHECK(code_of(verdict_of(error_of("credentials_missing"), known).code) == "scheme_mismatch");
  CHECK(code_of(verdict_of(error_of("tls_expired", Errc::upstream_unreachable), known).code) ==
        "tls_expired");
}

TEST_CASE("a clock that is off is the remedy's business") {
  auto known = facts();
  known.clock = "this machine's clock says 1970-01-01 00:00 UTC, the server's 2026-11-21 06:00 UTC";
  const auto verdict = verdict_of(error_of("tls_not_yet_valid", Errc::upstream_unreachable), known);
  CHECK(verdict.cause.find("1970") != std::string::npos);
  CHECK(verdict.remedy.find("set this machine's clock") == 0);
}

TEST_CASE("times, sizes and spans for people") {
  CHECK(day_and_time(WallTime(std::chrono::seconds(1'700'000'000))) == "2023-11-14 22:13 UTC");
  CHECK(byte_words(1023) == "1023 B");
  CHECK(byte_words(1536) == "1.5 KiB");
  CHECK(span_words(std::chrono::hours(72)) == "3 days");
  CHECK(span_words(std::chrono::seconds(90)) == "90 s");
}
