// Credentials that are missing or refused: what is said, how long they are left alone, and when they count
// anew.
#include <fstream>
#include <thread>

#include "tests/support/temp_dir.h"
#include "tests/unit/upstream/auth_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::auth;

TEST_CASE("credentials that are refused are left alone for 30 s and until they change") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const bool is_basic = GENERATE(true, false);
  up.client.reply(kBlob, challenge(is_basic ? "Basic realm=x" : kBearer));
  up.client.reply(kLoginToken, status(401));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().message.find("configs.test.auth") != std::string::npos);
  CHECK(answer.error().message.find("pw") == std::string::npos);
  const auto with_credentials = [&] {
    std::size_t count = 0;
    for (const auto& sent : up.client.sent()) count += sent.header("Authorization") == "Basic bWU6cHc=";
    return count;
  };
  CHECK(with_credentials() == 1);
  up.loop.advance(20s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(with_credentials() == 1);
  up.loop.advance(11s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(with_credentials() == 2);
  up.configure("reg.example", up.login("me", "new"));
  up.rules = *registry::Rules::make(up.input);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().at(up.client.sent().size() - 1).header("Authorization") == "Basic bWU6bmV3");
}

TEST_CASE("no credentials for a Basic registry is said with its host") {
  Upstreams up;
  up.client.reply(kBlob, challenge("Basic realm=x"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().diagnosis == "credentials_missing");
  CHECK(answer.error().message.find("no credentials are configured for reg.example") != std::string::npos);
}

TEST_CASE("a password file is read anew when it changes") {
  Upstreams up;
  TempDir dir;
  const auto path = dir / "password";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  auto host = std::make_shared<registry::HostSettings>(*up.login("me", "unused"));
  host->password_file = path;
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge("Basic realm=x"));
  up.client.reply(kBlob, ok());
  const auto fetch = [&] {
    const auto result = up.begin(up.blob("reg.example", "app"));
    for (int i = 0; i < 2000 && !result->has_value(); ++i) {
      up.loop.run();
      std::this_thread::sleep_for(1ms);
      up.loop.advance(1ms);
    }
    return result->has_value() && result->value().ok();
  };
  write("pw\n");
  REQUIRE(fetch());
  CHECK(up.client.sent().back().header("Authorization") == "Basic bWU6cHc=");
  write("longer\n");
  REQUIRE(fetch());
  CHECK(up.client.sent().back().header("Authorization") == "Basic bWU6bG9uZ2Vy");
}

TEST_CASE("a token server's 403 is about the scope, its 401 about the password") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const int code = GENERATE(401, 403);
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(other, challenge(R"(Bearer realm="https://auth.reg.example/token",service="a b:c")"));
  up.client.reply(other, ok());
  up.client.reply(kLoginToken, status(code));
  up.client.reply(
      "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aother%3Apull&account=me",
      token("T"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().diagnosis == "credentials_refused");
  CHECK(answer.error().status == code);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kLoginToken) == 1);
  CHECK(up.fetch(up.blob("reg.example", "other")).ok() == (code == 403));
}

TEST_CASE("refusals that still hold are not forgotten for one that is added") {
  upstream::Refusals refusals(30s, 600s);
  const TimePoint now{std::chrono::hours(1)};
  for (int i = 0; i < 1024; ++i)
    refusals.add_until(std::to_string(i), now, now + std::chrono::seconds(60 + i), Error{Errc::denied, "no"});
  refusals.add_until("last", now, now + std::chrono::hours(1), Error{Errc::denied, "no"});
  CHECK_FALSE(refusals.holding("0", now));  // the one that ended first
  CHECK(refusals.holding("1", now));
  CHECK(refusals.holding("last", now));
  CHECK(refusals.size() == 1024);
}
