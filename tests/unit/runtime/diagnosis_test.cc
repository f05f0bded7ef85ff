// The codes of diagnoses: the list is closed, documented, and every error has one of them.
#include "runtime/diagnosis.h"

#include <set>
#include <sstream>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;

namespace {

const std::set<std::string> kCodes{
    "tls_name_mismatch",   "tls_unknown_ca",      "tls_expired",          "tls_not_yet_valid",
    "dns_not_found",       "dns_suspicious",      "connect_refused",      "connect_timeout",
    "scheme_mismatch",     "credentials_missing", "credentials_unusable", "credentials_other_host",
    "credentials_refused", "repository_denied",   "repository_unknown",   "tag_unknown",
    "rate_limited",        "proxy_failed",        "storage_unreachable",  "platform_missing",
    "not_configured",      "runtime_bypass",      "upstream_error"};

Error error_of(Errc code, std::string word, int status = 0) {
  return {code, "it failed", 0, status, std::move(word), {}};
}

}  // namespace

TEST_CASE("the codes of diagnoses are the promised ones, in the order of their enumerators") {
  std::set<std::string> all;
  std::size_t at = 0;
  for (const auto& text : diagnoses()) {
    INFO(text.code);
    all.insert(std::string(text.code));
    CHECK(static_cast<std::size_t>(text.diagnosis) == at++);
    CHECK_FALSE(text.cause.empty());
    CHECK_FALSE(text.remedy.empty());
    CHECK_FALSE(text.cause.ends_with('.'));
    CHECK_FALSE(text.remedy.ends_with('.'));
  }
  CHECK(all == kCodes);
}

TEST_CASE("every code has a section in docs/diagnoses.md, and every section is a code") {
  std::set<std::string> sections;
  std::istringstream lines(test::read_text(std::string(LAYERD_SOURCE_DIR) + "/docs/diagnoses.md"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("## ")) CHECK(sections.insert(line.substr(3)).second);
  CHECK(sections == kCodes);
}

TEST_CASE("an error is told by its own code, a finer word by the code it belongs to") {
  for (const auto& text : diagnoses())
    CHECK(diagnosis_of(error_of(Errc::upstream_unreachable, std::string(text.code))) == text.diagnosis);
  const std::pair<const char*, Diagnosis> finer[] = {
      {"tls_self_signed", Diagnosis::tls_unknown_ca},  {"tls_incomplete_chain", Diagnosis::tls_unknown_ca},
      {"dns_timeout", Diagnosis::dns_not_found},       {"network_unreachable", Diagnosis::connect_timeout},
      {"realm_not_https", Diagnosis::scheme_mismatch}, {"address_not_allowed", Diagnosis::not_configured},
      {"offline", Diagnosis::not_configured},          {"not_a_registry", Diagnosis::upstream_error},
      {"tls_handshake", Diagnosis::upstream_error},    {"", Diagnosis::upstream_error}};
  for (const auto& [word, code] : finer) {
    INFO(word);
    CHECK(diagnosis_of(error_of(Errc::upstream_unreachable, word)) == code);
  }
}

TEST_CASE("an error without a word is told by whose fault it is") {
  CHECK(diagnosis_of(error_of(Errc::upstream_status, "", 429)) == Diagnosis::rate_limited);
  CHECK(diagnosis_of(error_of(Errc::upstream_status, "", 503)) == Diagnosis::upstream_error);
  CHECK(diagnosis_of(error_of(Errc::denied, "", 401)) == Diagnosis::credentials_missing);
  CHECK(diagnosis_of(error_of(Errc::denied, "", 403)) == Diagnosis::repository_denied);
  CHECK(diagnosis_of(error_of(Errc::not_found, "", 404)) == Diagnosis::tag_unknown);
  CHECK(diagnosis_of(error_of(Errc::upstream_timeout, "")) == Diagnosis::connect_timeout);
  CHECK(diagnosis_of(error_of(Errc::refused_by_policy, "")) == Diagnosis::not_configured);
}

TEST_CASE("what is about this machine or the request keeps its own word") {
  CHECK(stable_code(error_of(Errc::no_space, "")) == "no_space");
  CHECK(stable_code(error_of(Errc::invalid_request, "NAME_INVALID")) == "NAME_INVALID");
  CHECK(stable_code(error_of(Errc::refused_by_policy, "loop")) == "loop");
  CHECK(stable_code(error_of(Errc::refused_by_policy, "address_not_allowed")) == "not_configured");
  CHECK(stable_code(error_of(Errc::upstream_unreachable, "dns_failed")) == "dns_not_found");
}
