// A registry that wants Basic, with docker configs in real files and helpers that are scripted.
#pragma once

#include <fmt/core.h>
#include <sys/stat.h>

#include <string>
#include <thread>
#include <utility>

#include "tests/support/temp_dir.h"
#include "tests/unit/upstream/fixture.h"

namespace layerd::test::sources {

inline const std::string kBlob = "GET https://reg.example/v2/team/app/blobs/" + kDigest;
inline const std::string kMe = "Basic bWU6cHc=";  // me:pw

inline std::string docker_config(const std::string& host, const std::string& auth) {
  return fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", host, auth);
}
inline std::string helper_answer(const std::string& user, const std::string& secret) {
  return fmt::format(R"({{"ServerURL": "x", "Username": "{}", "Secret": "{}"}})", user, secret);
}

// A fetcher whose docker configs are read by real workers while time is virtual.
struct Bench : Upstreams {
  // In front of a registry that wants Basic, and lets in whoever comes again.
  explicit Bench(bool lets_in = true) {
    client.reply(kBlob, challenge("Basic realm=x"));
    if (lets_in) client.reply(kBlob, ok());
  }
  std::string file(const std::string& name, const std::string& text) {
    write_text(dir / name, text);
    ::chmod((dir / name).c_str(), 0600);
    return dir / name;
  }
  void helper(const std::string& match, const std::string& name,
              registry::HelperKind kind = registry::HelperKind::docker) {
    credentials.helpers.push_back({*registry::Pattern::compile(match), name, kind, {}, {}});
  }
  Result<FetchResponse> pull(const std::string& repository = "team/app") {
    const auto result = begin(blob("reg.example", repository));
    for (int i = 0; i < 4000 && !result->has_value(); ++i) {
      loop.run();
      std::this_thread::sleep_for(1ms);
      loop.advance(5ms);
    }
    if (!result->has_value()) return Error{Errc::canceled, "the test waited in vain"};
    return std::move(**result);
  }
  std::string sent() { return client.sent().back().header("Authorization"); }
  TempDir dir;
};

}  // namespace layerd::test::sources
