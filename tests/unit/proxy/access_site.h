// A registry with rights and the Mirror before it, for tests of who gets what.
#pragma once

#include <fmt/core.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "proxy/access_gate.h"
#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

namespace layerd::test {

using Who = registry::AskAs::Who;

inline constexpr uid_t kStranger = 1000;
inline constexpr std::uint64_t kPod = 77;

// "alice:secret" in base64, and what others say.
inline const std::string kAlice = "Basic YWxpY2U6c2VjcmV0";
inline const std::string kBob = "Basic Ym9iOnNlY3JldA==";
inline const std::string kWrong = "Basic YWxpY2U6d3Jvbmc=";

inline http::Headers with(const std::string& authorization) {
  http::Headers headers;
  if (!authorization.empty()) headers.add("Authorization", authorization);
  return headers;
}

// A registry with rights: each repository has those who may pull from it.
struct Site {
  Site() {
    bench.fetcher.script = [this](const upstream::FetchRequest& request) { return answer(request); };
    manifest = image_manifest({"config", "layer"});
    top = sha256_of(manifest);
    for (const auto& blob : {std::string("config"), std::string("layer"), manifest})
      objects[sha256_of(blob).str()] = blob;
    objects["1"] = manifest;
  }

  Reply refuse(Errc code, int status) const {
    Reply reply;
    reply.error = Error{code, "https://private.example says no in its own words"};
    reply.error->status = status;
    return reply;
  }

  Reply answer(const upstream::FetchRequest& request) {
    if (is_cut) return refuse(Errc::upstream_unreachable, 0);
    const auto& as = request.target->as;
    const auto& allowed = rights[request.target->repository];
    const std::string asker = as.who == Who::client ? as.credentials.username + ":" + as.credentials.password
                              : as.who == Who::node ? "node"
                                                    : "nobody";
    const bool may = allowed.contains("nobody") || allowed.contains(asker);
    if (!may) {
      if (!hides) return refuse(Errc::denied, asker == "alice:wrong" ? 401 : 403);
      auto reply = refuse(Errc::not_found, 404);
      reply.error->may_be_hidden = asker == "nobody" || (as.who == Who::node && !allowed.contains("node"));
      return reply;
    }
    Reply reply;
    reply.authenticated = !allowed.contains("nobody");
    const bool is_list = request.kind == upstream::Kind::tags || request.kind == upstream::Kind::referrers;
    const auto found = objects.find(request.reference);
    if (is_list) {
      reply.body = "{\"tags\":[\"1\"]}";
      return reply;
    }
    if (found == objects.end() || gone.contains(request.reference)) return refuse(Errc::not_found, 404);
    reply.body = found->second;
    const bool is_manifest = request.kind == upstream::Kind::manifest;
    reply.headers.set("Content-Type", is_manifest ? "application/vnd.oci.image.manifest.v1+json"
                                                  : "application/octet-stream");
    return reply;
  }

  std::unique_ptr<RecordedExchange> ask(const std::string& target, const std::string& authorization = {},
                                        std::optional<net::SocketOwner> owner = net::SocketOwner{0, 0},
                                        const std::string& method = "GET", http::Headers more = {}) {
    auto headers = with(authorization);
    for (const auto& header : more.all()) headers.add(header.name, header.value);
    auto exchange = std::make_unique<RecordedExchange>(bench.loop, method, target, std::move(headers));
    exchange->set_owner(owner);
    exchange->serve_with(*bench.mirror);
    bench.loop.run();
    bench.wait_for(*exchange);
    return exchange;
  }
  int status(const std::string& target, const std::string& authorization = {}) {
    return ask(target, authorization)->status();
  }
  static std::string url(const std::string& kind, const std::string& reference,
                         const std::string& repository = "team/app") {
    return "/v2/" + repository + "/" + kind + "/" + reference + "?ns=private.example";
  }
  std::string by_tag(const std::string& repository = "team/app") const {
    return url("manifests", "1", repository);
  }
  std::string by_digest(const std::string& repository = "team/app") const {
    return url("manifests", top.str(), repository);
  }
  std::string blob(const std::string& repository = "team/app") const {
    return url("blobs", sha256_of("layer").str(), repository);
  }
  // As a client does it: what the challenge says, taken to where it says.
  std::string handle_for(const RecordedExchange& challenged, const std::string& basic) {
    const auto header = challenged.header("WWW-Authenticate");
    const auto part = [&](const std::string& name) {
      const auto at = header.find(name + "=\"");
      if (at == std::string::npos) return std::string();
      const auto begin = at + name.size() + 2;
      return header.substr(begin, header.find('"', begin) - begin);
    };
    auto realm = part("realm");
    REQUIRE(realm.starts_with("http://127.0.0.1:5151/token"));
    realm = realm.substr(std::string("http://127.0.0.1:5151").size());
    realm += realm.find('?') == std::string::npos ? "?" : "&";
    realm += "service=" + part("service") + "&scope=" + part("scope");
    const auto token = ask(realm, basic);
    REQUIRE(token->status() == 200);
    const auto json = parse_json(token->body());
    REQUIRE(json);
    return "Bearer " + json_string(*json, "token");
  }
  // Pulled once by who may, so that all of it is here.
  void pull(const std::string& authorization = {}) {
    REQUIRE(status(by_tag(), authorization) == 200);
    bench.store.add("layer");
    bench.store.add("config");
    bench.fetcher.requests.clear();
  }
  std::size_t asked() const { return bench.fetcher.requests.size(); }
  std::size_t asked_as(Who who) const {
    std::size_t count = 0;
    for (const auto& request : bench.fetcher.requests) count += request.target->as.who == who;
    return count;
  }
  // A daemon of the same node that was started anew: what is on disk stays.
  void restart() {
    bench.mirror.reset();
    bench.mirror = std::make_unique<proxy::Mirror>(
        proxy::MirrorParts{bench.loop, bench.workers, bench.metrics, bench.store, bench.catalog,
                           bench.downloads, bench.learning, bench.buffers, bench.owners, bench.cgroups,
                           bench.sealing_key},
        std::make_shared<const proxy::MirrorSettings>(bench.settings),
        proxy::SitePages{[] { return std::string(); }, [] { return std::string(); },
                         [] { return proxy::StatusFigures{}; }});
  }

  MirrorBench bench;
  std::map<std::string, std::set<std::string>> rights;
  std::map<std::string, std::string> objects;
  std::set<std::string> gone;
  std::string manifest;
  Digest top;
  bool is_cut = false, hides = false;
};

inline const std::string kKey = "private.example/team/app";

}  // namespace layerd::test
