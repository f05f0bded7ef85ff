// Aliyun ACR and Tencent (protocol.md §3.4, users.md 4): three groups of hosts, accounts that are right at
// one domain only, passwords that break in shells.
#include "tests/profiles/site.h"

using namespace layerd::test;

namespace {

constexpr const char* kPersonal = "crpi-abc123.cn-hangzhou.personal.cr.aliyuncs.com";
constexpr const char* kGeneral = "registry.cn-hangzhou.aliyuncs.com";
constexpr const char* kEnterprise = "acme-registry.cn-hangzhou.cr.aliyuncs.com";

// What a Secret of type kubernetes.io/dockerconfigjson holds, here without the field `auth` (users.md 4).
std::string secret_for(const std::string& host) {
  return fmt::format("credentials: {{docker_config: [{}]}}\n",
                     secret_file("dockerconfigjson-" + host,
                                 fmt::format(R"({{"auths": {{"{}": {{"username": "jane@aliyun.com",)"
                                             R"( "password": "p$w!@:#%"}}}}}})",
                                             host)));
}

}  // namespace

TEST_CASE("Aliyun ACR personal: its own domain, a Secret without auth, a password of special characters",
          "[profiles]") {
  const Image image = World::get().publish("jane/app");
  Node node(secret_for(kPersonal));
  node.must_pull(fmt::format("{}/jane/app:1", kPersonal), image);
  const Asked token = node.token_request();
  CHECK(token.origin == "https://dockerauth.cn-hangzhou.personal.cr.aliyuncs.com");
  // The service's colons are encoded (§3.1); account and password arrive as they are.
  CHECK(token.target.find("service=registry.aliyuncs.com%3Acn-hangzhou%3A26842&") != std::string::npos);
  CHECK(token.target.find("scope=repository%3Ajane%2Fapp%3Apull") != std::string::npos);
  CHECK(token.credential == "Basic jane@aliyun.com:p$w!@:#%");
  const auto oss = node.asked("https://crpi.oss-cn-hangzhou.aliyuncs.com");
  CHECK(oss.size() == image.blobs.size());
  for (const auto& each : oss) CHECK(each.credential.empty());
}

TEST_CASE("Aliyun ACR personal at the general domain is refused, and the near miss is told", "[profiles]") {
  World::get().publish("jane/app");
  SECTION("the Secret is for the general domain, the image at the account's own") {
    Node node(secret_for(kGeneral));
    const ProbeReply reply = node.get(fmt::format("/v2/jane/app/manifests/1?ns={}", kPersonal));
    INFO(reply.status << " " << reply.body);
    CHECK(is_refusal(reply));
    CHECK(reply.body.find(fmt::format("has an entry for {}, but not for {}", kGeneral, kPersonal)) !=
          std::string::npos);
    const Finished check = node.command({"check", fmt::format("{}/jane/app:1", kPersonal)});
    INFO(check.output);
    CHECK(check.status == 1);
    CHECK(check.output.find("credentials_other_host") != std::string::npos);
  }
  SECTION("the right account at the wrong domain") {
    Node node(secret_for(kGeneral));
    const ProbeReply reply = node.get(fmt::format("/v2/jane/app/manifests/1?ns={}", kGeneral));
    INFO(reply.status << " " << reply.body);
    CHECK(is_refusal(reply));
    CHECK(reply.body.find("requested access to the resource is denied") != std::string::npos);
    CHECK(node.token_request().credential == "Basic jane@aliyun.com:p$w!@:#%");
    const Finished check = node.command({"check", fmt::format("{}/jane/app:1", kGeneral)});
    INFO(check.output);
    CHECK(check.status == 1);
    CHECK(check.output.find("repository_denied") != std::string::npos);
  }
}

TEST_CASE("Aliyun ACR enterprise: another auth host and the instance in the service", "[profiles]") {
  const Image image = World::get().publish("prod/app");
  const auto password = secret_file("aliyun.password", "p$w!@:#%\n");
  Node node(fmt::format("configs: {{{}: {{auth: {{username: jane@aliyun.com, password_file: {}}}}}}}\n",
                        kEnterprise, password));
  node.must_pull(fmt::format("{}/prod/app:1", kEnterprise), image);
  const Asked token = node.token_request();
  CHECK(token.origin == "https://dockerauth-ee.cn-hangzhou.aliyuncs.com");
  CHECK(token.target.find("service=registry.aliyuncs.com%3Acn-hangzhou%3Acri-acme&") != std::string::npos);
  CHECK(token.credential == "Basic jane@aliyun.com:p$w!@:#%");
  for (const auto& each : node.asked("https://cri-acme-registry.oss-cn-hangzhou.aliyuncs.com"))
    CHECK(each.credential.empty());
}

TEST_CASE("Tencent: the account's number at the personal registry, a temporary password from a helper",
          "[profiles]") {
  const Image personal = World::get().publish("acme/app"), enterprise = World::get().publish("tcr/app");
  const auto helper =
      secret_file("docker-credential-tcr",
                  "#!/bin/sh\nread server\n"
                  "echo \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"tcr\\$puller\\\","
                  "\\\"Secret\\\":\\\"eyJhb.s3cret\\\"}\"\n",
                  true);
  Node node(fmt::format(
      "configs: {{ccr.ccs.tencentyun.com: {{auth: {{username: '100012345678', password: s3cret}}}}}}\n"
      "credentials: {{helpers: [{{match: \"*.tencentcloudcr.com\", helper: {}}}]}}\n",
      helper));
  node.must_pull("ccr.ccs.tencentyun.com/acme/app:1", personal);
  CHECK(node.token_request().credential == "Basic 100012345678:s3cret");
  node.must_pull("acme.tencentcloudcr.com/tcr/app:1", enterprise);
  bool has_asked = false;
  for (const auto& each : node.asked("https://acme.tencentcloudcr.com"))
    has_asked = has_asked || each.credential == "Basic tcr$puller:eyJhb.s3cret";
  CHECK(has_asked);
  for (const char* cos : {"https://ccr-1300000000.cos.ap-guangzhou.myqcloud.com",
                          "https://acme-1300000000.cos.ap-guangzhou.myqcloud.com"}) {
    CHECK_FALSE(node.asked(cos).empty());
    for (const auto& each : node.asked(cos)) CHECK(each.credential.empty());
  }
}
