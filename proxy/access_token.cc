// The outside of handles: challenges, and the endpoint they lead to (protocol.md §1.5).
#include <fmt/core.h>

#include <algorithm>

#include "proxy/access_gate.h"
#include "proxy/answers.h"
#include "proxy/registry/registry_error.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostScopes = kMostHandleRepositories;

// What the client called us, as far as it is fit for a URL; else the address it came to.
std::string own_authority(const http::Exchange& exchange) {
  const auto host = exchange.request().headers.get("Host").value_or("");
  const bool is_plain = !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return registry::is_alnum(c) || c == '.' || c == ':' || c == '-' || c == '[' || c == ']';
  });
  return is_plain ? std::string(host) : exchange.local().str();
}

// A query value as Go and curl write it: '+' is a space there.
std::optional<std::string> query_text(std::string_view raw) {
  std::string text(raw);
  std::replace(text.begin(), text.end(), '+', ' ');
  return registry::percent_decode(text);
}

struct TokenQuestion {
  std::string ns;                  // empty: the names say it
  std::vector<std::string> names;  // of repositories
};

// "repository:NAME:pull": the name may have colons of its own.
void add_scope(std::string_view scope, TokenQuestion& question) {
  const auto first = scope.find(':'), last = scope.rfind(':');
  if (scope.substr(0, first) != "repository" || last == first || question.names.size() >= kMostScopes) return;
  question.names.emplace_back(scope.substr(first + 1, last - first - 1));
}

TokenQuestion read_question(std::string_view query) {
  TokenQuestion question;
  for (const auto field : registry::split(query, '&')) {
    const auto mark = field.find('=');
    if (mark == std::string_view::npos) continue;
    const auto value = query_text(field.substr(mark + 1));
    if (!value) continue;
    if (field.substr(0, mark) == "ns") question.ns = *value;
    if (field.substr(0, mark) != "scope") continue;
    for (const auto scope : registry::split(*value, ' ')) add_scope(scope, question);
  }
  return question;
}

// The repositories these names lead to, as a request for them would be understood.
std::vector<cache::RepositoryKey> repositories_of(const TokenQuestion& question,
                                                  const registry::Rules& rules) {
  std::vector<cache::RepositoryKey> keys;
  for (const auto& name : question.names) {
    std::string path = fmt::format("/v2/{}/manifests/latest", name);
    if (!question.ns.empty()) path += "?ns=" + registry::percent_encode(question.ns);
    const auto route = registry::parse_route("GET", path);
    if (!route || route->kind != registry::RouteKind::manifest) continue;
    if (auto target = rules.resolve(route->ns, route->repository)) keys.push_back((*target)->key());
  }
  return keys;
}

http::ResponseHead json_head(int status) {
  http::ResponseHead head;
  head.status = status;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  head.headers.add("Cache-Control", "no-store");
  return head;
}

}  // namespace

// Bearer, never Basic: who has no credentials gets a handle all the same, and goes on without them.
void Access::challenge(http::Exchange& exchange, const Asked* asked, bool is_handle_bad, const Error* why) {
  std::string realm = fmt::format("http://{}/token", own_authority(exchange));
  std::string scope, sentence = "credentials may be given for this mirror";
  if (asked != nullptr) {
    const auto& route = asked->route;
    if (route.ns_given) realm += "?ns=" + registry::percent_encode(route.ns);
    scope = fmt::format(",scope=\"repository:{}:pull\"",
                        route.ns_given ? route.repository : route.ns + "/" + route.repository);
    sentence =
        fmt::format("{} gives {} to who has credentials", asked->target->registry, asked->target->repository);
  }
  std::string diagnosis = "credentials_missing";
  if (why != nullptr) {
    const auto told = registry::http_error_of(*why, registry::ErrorSubject::other);
    sentence = told.message;
    diagnosis = told.diagnosis;
  }
  if (asked != nullptr) exchange.note(notes::kDiagnosis, diagnosis);
  exchange.note(notes::kError, sentence);
  auto head = json_head(401);
  head.reason = printable(sentence);
  head.headers.add("WWW-Authenticate", fmt::format("Bearer realm=\"{}\",service=\"layerd\"{}{}", realm, scope,
                                                   is_handle_bad ? ",error=\"invalid_token\"" : ""));
  if (asked != nullptr && asked->route.ns_given) head.headers.add("OCI-Namespace", asked->route.ns);
  parts_.metrics.counter("layerd_access_challenges_total", "Requests answered with a challenge.").add();
  exchange.respond(std::move(head), registry::error_body("UNAUTHORIZED", sentence, diagnosis));
}

bool Access::challenge_ping(const MirrorSettings& settings, http::Exchange& exchange) {
  if (!settings.access.challenge_ping) return false;
  const auto given = handles_.read(exchange.request().headers, {}, parts_.loop.wall_now());
  if (given.presented == Presented::given || given.presented == Presented::anonymous) return false;
  challenge(exchange, nullptr, given.presented == Presented::unknown, nullptr);
  return true;
}

void Access::give_token(const MirrorSettings& settings, http::Exchange& exchange,
                        const registry::Route& route) {
  if (exchange.request().method == "POST") {
    // The word by which clients that try POST first (containerd) go on with GET.
    auto head = json_head(404);
    return exchange.respond(std::move(head),
                            registry::error_body("UNSUPPORTED", "tokens are given by GET", {}));
  }
  const auto credentials = read_basic(exchange.request().headers.get("Authorization").value_or(""));
  const auto repositories = repositories_of(read_question(route.query), *settings.rules);
  const auto handle = handles_.make(credentials, repositories, parts_.loop.wall_now());
  exchange.respond(
      json_head(200),
      dump_json(Json{{"token", handle}, {"access_token", handle}, {"expires_in", kHandleLife.count()}}));
}

}  // namespace layerd::proxy
