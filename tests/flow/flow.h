// What every flow test starts from: a registry that misbehaves on order and the built layerd in front of it,
// which knows it as "registry.test". At the end it must stop cleanly, with nothing wrong in its store.
#pragma once

#include <fmt/core.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/faulty_upstream.h"
#include "tests/support/hashes.h"
#include "tests/support/http_probe.h"
#include "tests/support/layerd_daemon.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

struct FlowSettings {
  std::string more = {};  // YAML besides `mirrors`
  std::string cache_path = {};
  std::string max_size = "4GiB";
};

class Flow {
 public:
  explicit Flow(FlowSettings settings = {})
      : more(std::move(settings.more)),
        layerd({LAYERD_BINARY_DIR "/layerd", dir.path(), mirrors() + more, settings.cache_path,
                settings.max_size}) {}

  ~Flow() {
    if (layerd.process().running()) CHECK(layerd.stop() == 0);
    CHECK(layerd.complaints() == "");
    CHECK(layerd.wrong_blobs() == std::vector<std::string>{});
    if (std::uncaught_exceptions() > 0) WARN(layerd.log());
  }

  std::string mirrors() const {
    return fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n",
                       upstream.url());
  }
  static std::string blob(const std::string& digest, const std::string& repository = "team/app") {
    return fmt::format("/v2/{}/blobs/{}?ns=registry.test", repository, digest);
  }
  static std::string manifest(const std::string& reference, const std::string& repository = "team/app") {
    return fmt::format("/v2/{}/manifests/{}?ns=registry.test", repository, reference);
  }

  TempDir dir{"layerd-flow"};
  FaultyUpstream upstream;
  std::string more;
  LayerdDaemon layerd;
};

// Calls `ready` until it answers true; false after `timeout`.
template <typename Ready>
bool eventually(Ready ready, std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!ready()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// The Authorization that our token endpoint gives for a challenge, to who says `basic` (empty: nothing).
inline std::string handle_for(std::uint16_t port, const ProbeReply& challenged,
                              const std::string& basic = {}) {
  const std::string header = challenged.header("www-authenticate");
  const auto part = [&](const std::string& name) {
    const auto at = header.find(name + "=\"");
    REQUIRE(at != std::string::npos);
    const auto begin = at + name.size() + 2;
    return header.substr(begin, header.find('"', begin) - begin);
  };
  const std::string realm = part("realm");
  const auto path = realm.find("/token");
  REQUIRE(path != std::string::npos);
  const bool has_query = realm.find('?') != std::string::npos;
  ProbeRequest request{port, fmt::format("{}{}service={}&scope={}", realm.substr(path), has_query ? "&" : "?",
                                         part("service"), part("scope"))};
  if (!basic.empty()) request.headers.push_back({"Authorization", "Basic " + base64(basic)});
  const ProbeReply token = probe(request);
  REQUIRE(token.status == 200);
  const auto begin = token.body.find("\"token\":\"");
  REQUIRE(begin != std::string::npos);
  const auto first = begin + 9;
  return "Bearer " + token.body.substr(first, token.body.find('"', first) - first);
}

// Sends all requests at the same time, each on a connection of its own.
inline std::vector<ProbeReply> probe_together(const std::vector<ProbeRequest>& requests) {
  std::vector<ProbeReply> replies(requests.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] { replies[i] = probe(requests[i]); });
  }
  for (auto& thread : threads) thread.join();
  return replies;
}

}  // namespace layerd::test
