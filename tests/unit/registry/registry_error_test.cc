#include "proxy/registry/registry_error.h"

#include "runtime/json.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {
Error error_of(Errc code, int status = 0) { return {code, "the cause", 0, status, {}, {}}; }
}  // namespace

// rules: denied-is-403
TEST_CASE("each error has its status and code by the table of protocol.md 7.2") {
  struct Row {
    Error error;
    int status;
    const char* code;
  };
  const Row rows[] = {{error_of(Errc::invalid_request), 400, "NAME_INVALID"},
                      {{Errc::invalid_request, "x", 0, 0, "DIGEST_INVALID", {}}, 400, "DIGEST_INVALID"},
                      {error_of(Errc::not_found), 404, "MANIFEST_UNKNOWN"},
                      {error_of(Errc::denied, 401), 403, "DENIED"},
                      {error_of(Errc::range_unsatisfiable), 416, "SIZE_INVALID"},
                      {error_of(Errc::range_unsatisfiable, 416), 502, "UNAVAILABLE"},
                      {error_of(Errc::upstream_unreachable), 502, "UNAVAILABLE"},
                      {error_of(Errc::upstream_timeout), 502, "UNAVAILABLE"},
                      {error_of(Errc::upstream_protocol), 502, "UNAVAILABLE"},
                      {error_of(Errc::truncated), 502, "UNAVAILABLE"},
                      {error_of(Errc::digest_mismatch), 502, "UNAVAILABLE"},
                      {error_of(Errc::upstream_status, 500), 502, "UNAVAILABLE"},
                      {error_of(Errc::upstream_status, 401), 403, "DENIED"},
                      {error_of(Errc::upstream_status, 403), 403, "DENIED"},
                      {error_of(Errc::upstream_status, 404), 404, "MANIFEST_UNKNOWN"},
                      {error_of(Errc::upstream_status, 429), 502, "TOOMANYREQUESTS"},
                      {error_of(Errc::refused_by_policy), 403, "DENIED"},
                      {{Errc::refused_by_policy, "x", 0, 0, "loop", {}}, 508, "UNSUPPORTED"},
                      {error_of(Errc::overloaded), 503, "UNAVAILABLE"},
                      {error_of(Errc::no_space), 503, "UNAVAILABLE"},
                      {error_of(Errc::canceled), 503, "UNAVAILABLE"},
                      {error_of(Errc::local_io), 503, "UNAVAILABLE"},
                      {error_of(Errc::config), 502, "UNAVAILABLE"}};
  for (const Row& row : rows) {
    INFO(name_of(row.error.code) << " " << row.error.status);
    const auto answer = http_error_of(row.error, ErrorSubject::manifest);
    CHECK(answer.status == row.status);
    CHECK(answer.code == row.code);
    CHECK(answer.reason == row.error.message);
  }
  CHECK(http_error_of(error_of(Errc::not_found), ErrorSubject::blob).code == "BLOB_UNKNOWN");
  CHECK(http_error_of(error_of(Errc::not_found), ErrorSubject::other).code == "NAME_UNKNOWN");
}

TEST_CASE("the reason phrase is printable, bounded and never breaks the head") {
  const auto answer = http_error_of(
      {Errc::upstream_protocol, "evil\r\nSet-Cookie: x\x01\xc3\xa4" + std::string(500, 'y'), 0, 0, {}, {}},
      ErrorSubject::blob);
  CHECK(answer.reason.size() <= 200);
  for (char c : answer.reason + answer.message) CHECK((c >= 0x20 && c < 0x7f));
  CHECK_FALSE(http_error_of({Errc::canceled, "  \r\n", 0, 0, {}, {}}, ErrorSubject::blob).reason.empty());
}

TEST_CASE("an upstream's wish to wait is in the message and not in the status") {
  Error error = error_of(Errc::upstream_status, 429);
  error.retry_after = std::chrono::seconds(30);
  const auto answer = http_error_of(error, ErrorSubject::manifest);
  CHECK(answer.status == 502);
  CHECK_THAT(answer.message, Catch::Contains("wait 30 s"));
}

TEST_CASE("the body is the JSON of the specification") {
  const auto body = parse_json(error_body({403, "DENIED", "why", "because \"x\"", "tls_expired"}));
  REQUIRE(body);
  const Json& entry = (*body)["errors"][0];
  CHECK(json_string(entry, "code") == "DENIED");
  CHECK(json_string(entry, "message") == "because \"x\"");
  CHECK(json_string(entry["detail"], "diagnosis") == "tls_expired");
}

TEST_CASE("error bodies of upstreams are read in every dialect, bounded and printable") {
  CHECK(read_error_body(R"({"errors":[{"code":"DENIED","message":"no\nway"}]})").text() == "DENIED: no way");
  CHECK(read_error_body(R"({"details":"incorrect username or password"})").text() ==
        "incorrect username or password");
  CHECK(read_error_body(R"({"error":"invalid_grant","error_description":"bad"})").text() ==
        "invalid_grant: bad");
  CHECK(read_error_body(R"({"message":"m"})").text() == "m");
  for (const char* nothing :
       {"", "<html>", "[]", "{}", R"({"errors":[]})", R"({"errors":[5]})", R"({"errors":{"code":5}})"})
    CHECK(read_error_body(nothing).text().empty());
  const auto big =
      read_error_body(R"({"errors":[{"code":"A","message":")" + std::string(5000, 'x') + "\"}]}");
  CHECK(big.message.size() == 200);
  CHECK(read_error_body(std::string(70000, ' ')).text().empty());
}
