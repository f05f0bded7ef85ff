// Platforms of an index, and which of them a machine takes.
#include "proxy/registry/platform.h"

#include <fmt/core.h>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {

std::string index_of(const std::vector<std::string>& platforms) {
  std::string rows;
  for (std::size_t i = 0; i < platforms.size(); ++i) {
    const auto wanted = *parse_platform(platforms[i]);
    rows += fmt::format(
        R"({}{{"digest":"sha256:{:064x}","platform":{{"os":"{}","architecture":"{}","variant":"{}"}}}})",
        i ? "," : "", i, wanted.os, wanted.architecture, wanted.variant);
  }
  return "{\"manifests\":[" + rows + "]}";
}

std::string chosen(const std::vector<std::string>& all, const std::string& wanted) {
  const auto found = choose_platform(platforms_of(index_of(all)), *parse_platform(wanted));
  return found ? found->platform.str() : "none";
}

}  // namespace

TEST_CASE("a platform is os/architecture with or without a variant") {
  CHECK(parse_platform("linux/arm64")->str() == "linux/arm64");
  CHECK(parse_platform("Linux/ARM/v7")->str() == "linux/arm/v7");
  CHECK(parse_platform("riscv64")->str() == "linux/riscv64");
  for (const char* wrong : {"", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/\xc3\xa4"}) {
    INFO(wrong);
    auto platform = parse_platform(wrong);
    REQUIRE_FALSE(platform);
    CHECK(platform.error().code == Errc::invalid_request);
  }
}

TEST_CASE("a machine takes its own architecture and the highest variant it can run") {
  CHECK(chosen({"linux/amd64", "linux/arm64"}, "linux/amd64") == "linux/amd64");
  CHECK(chosen({"linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"}, "linux/arm") == "linux/arm/v7");
  CHECK(chosen({"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v6") == "linux/arm/v6");
  CHECK(chosen({"linux/arm64/v8"}, "linux/arm64") == "linux/arm64/v8");
  CHECK(chosen({"linux/amd64", "linux/amd64/v3"}, "linux/amd64") == "linux/amd64");
  CHECK(chosen({"linux/arm64", "linux/s390x"}, "linux/amd64") == "none");
  CHECK(chosen({"windows/amd64"}, "linux/amd64") == "none");
  CHECK(platform_of_machine("x86_64").str() == "linux/amd64");
  CHECK(platform_of_machine("aarch64").str() == "linux/arm64");
  CHECK(platform_of_machine("armv7l").str() == "linux/arm/v7");
}

TEST_CASE("the configuration of an image says its platform, that of something else does not") {
  CHECK(platform_of_config(R"({"os":"linux","architecture":"arm","variant":"v7"})")->str() == "linux/arm/v7");
  for (const char* none :
       {"", "{}", "[]", R"({"os":5,"architecture":"amd64"})", R"({"name":"a helm chart"})"})
    CHECK_FALSE(platform_of_config(none));
}

TEST_CASE("what is no platform in an index is left out") {
  CHECK(platforms_of("rubbish").empty());
  CHECK(platforms_of("{\"manifests\":5}").empty());
  CHECK(platforms_of(R"({"manifests":[5,{"digest":"x","platform":{"os":"linux","architecture":"amd64"}}]})")
            .empty());
  const std::string digest = "sha256:" + std::string(64, 'a');
  CHECK(platforms_of(R"({"manifests":[{"digest":")" + digest +
                     R"(","platform":{"os":"unknown","architecture":"unknown"}}]})")
            .empty());
}
