// A RegistryFetcher on virtual time against a scripted client.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/upstream/registry_fetcher.h"
#include "tests/support/catch.h"
#include "tests/support/fake_children.h"
#include "tests/support/scripted_client.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

using namespace std::chrono_literals;
using upstream::FetchRequest;
using upstream::FetchResponse;
using upstream::Kind;

inline const std::string kDigest = "sha256:" + std::string(64, 'a');

struct Upstreams {
  Upstreams() { settings.instance = "test"; }
  ~Upstreams() { tickets.clear(); }

  registry::HostSettingsPtr login(std::string user, std::string password) {
    auto host = std::make_shared<registry::HostSettings>();
    host->credentials.username = std::move(user);
    host->credentials.password = std::move(password);
    host->credentials.source = "configs.test.auth";
    return host;
  }
  void configure(const std::string& host, registry::HostSettingsPtr what = nullptr) {
    input.configs[host] = what ? std::move(what) : std::make_shared<registry::HostSettings>();
  }
  void mirror(const std::string& name, const std::vector<std::string>& urls, bool default_endpoint = true) {
    registry::MirrorEntry entry;
    for (const auto& url : urls) entry.endpoints.push_back(*registry::parse_url(url));
    entry.default_endpoint = default_endpoint;
    input.mirrors[name] = std::move(entry);
  }
  // Call once, after configuring.
  void build() {
    rules = *registry::Rules::make(input);
    fetcher = std::make_unique<upstream::RegistryFetcher>(
        loop, workers, children, client, [this] { return rules; }, metrics, settings);
    fetcher->set_credentials(std::make_shared<const registry::CredentialRules>(credentials));
  }
  FetchRequest blob(const std::string& ns, const std::string& repository) {
    if (!fetcher) build();
    FetchRequest request;
    request.target = *rules->resolve(ns, repository);
    request.reference = kDigest;
    return request;
  }
  FetchRequest manifest(const std::string& ns, const std::string& repository, const std::string& reference) {
    auto request = blob(ns, repository);
    request.kind = Kind::manifest;
    request.reference = reference;
    return request;
  }
  std::shared_ptr<std::optional<Result<FetchResponse>>> begin(FetchRequest request) {
    auto result = std::make_shared<std::optional<Result<FetchResponse>>>();
    tickets.push_back(fetcher->fetch(
        std::move(request), [result](Result<FetchResponse> answer) { result->emplace(std::move(answer)); }));
    return result;
  }
  // Lets up to `time` pass.
  Result<FetchResponse> fetch(FetchRequest request, Duration time = 60s) {
    const auto result = begin(std::move(request));
    const auto end = loop.now() + time;
    loop.run();
    while (!result->has_value() && loop.now() < end) loop.advance(50ms);
    if (!result->has_value()) return Error{Errc::canceled, "the test waited in vain"};
    return std::move(**result);
  }
  std::string body(FetchResponse& response) {
    std::string all;
    for (bool ended = false; !ended;) {
      auto ticket = response.body->read(http::kMostBodyRead, [&](Result<Bytes> bytes) {
        ended = !bytes || bytes->empty();
        if (bytes) all += bytes->str();
      });
      loop.run();
    }
    return all;
  }

  VirtualLoop loop;
  Workers workers{loop, 1};
  FakeChildren children{loop};
  ScriptedClient client{loop};
  Metrics metrics;
  upstream::FetcherSettings settings;
  registry::RulesInput input;
  registry::CredentialRules credentials;
  registry::RulesPtr rules;
  std::unique_ptr<upstream::RegistryFetcher> fetcher;
  std::vector<Ticket> tickets;
};

inline ClientReply challenge(std::string value) {
  return {401, {{"WWW-Authenticate", std::move(value)}}, "", {}, {}, false};
}
inline ClientReply ok(std::string body = "bytes") { return {200, {}, std::move(body), {}, {}, false}; }
inline ClientReply status(int code, std::vector<http::Header> headers = {}, std::string body = {}) {
  return {code, std::move(headers), std::move(body), {}, {}, false};
}
inline ClientReply redirect(std::string to, int code = 307) {
  return status(code, {{"Location", std::move(to)}});
}
inline ClientReply down() {
  ClientReply reply;
  reply.error = Error{Errc::upstream_unreachable, "cannot connect: refused", 0, 0, "connect_refused", {}};
  return reply;
}
inline ClientReply silent() {
  ClientReply reply;
  reply.hangs = true;
  return reply;
}
inline ClientReply token(const std::string& value, const std::string& more = {}) {
  return ok("{\"token\":\"" + value + "\"" + more + "}");
}

}  // namespace layerd::test
