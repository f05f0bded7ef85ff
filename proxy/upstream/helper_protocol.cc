#include "proxy/upstream/helper_protocol.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "proxy/registry/docker_config.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"

namespace layerd::upstream {
namespace {

using registry::HelperKind;

constexpr const char* kApiVersion = "credentialprovider.kubelet.k8s.io/v1";
constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// What a helper needs to find its own files and its way out; everything else is the rule's `env`.
constexpr std::array<std::string_view, 12> kPassedOn{
    "HOME",       "TMPDIR",      "LANG",     "HTTP_PROXY", "HTTPS_PROXY",   "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY",  "SSL_CERT_FILE", "SSL_CERT_DIR"};

std::string image_of(const registry::RegistryPlace& place) { return place.authority() + "/" + place.path; }

// What a helper prints may hold a secret: instead of quoting it the sentence says how to see it.
Error failed(const HelperRequest& request, std::string_view what) {
  const auto program = program_of(request);
  const auto by_hand =
      request.kind == HelperKind::docker
          ? fmt::format("echo {} | {} get", registry::helper_server(request.place), program)
          : fmt::format("{} with a CredentialProviderRequest for {}", program, image_of(request.place));
  Error error{Errc::config, fmt::format("the credential helper {} ({}) {}; try it as the user of layerd: {}",
                                        program, request.source, what, by_hand)};
  error.diagnosis = "credentials_unusable";
  return error;
}

std::string input_for(const HelperRequest& request) {
  if (request.kind == HelperKind::docker) return registry::helper_server(request.place);
  Json question;
  question["kind"] = "CredentialProviderRequest";
  question["apiVersion"] = kApiVersion;
  question["image"] = image_of(request.place);
  return dump_json(question);
}

// Its words for "I have none" are fixed in docker's own library.
bool says_not_found(const std::string& output) {
  return output.find("credentials not found in native keychain") != std::string::npos;
}

Result<HelperReply> read_docker(const HelperRequest& request, const ChildEnd& end) {
  HelperReply reply;
  reply.lifetime = kNothingThereLifetime;
  if (end.status != 0) {
    if (says_not_found(end.output)) return reply;
    return failed(request, fmt::format("ended with status {}", end.status));
  }
  const auto json = parse_json(end.output, {64u << 10, 8});
  if (!json || !json->is_object())
    return failed(request, "answered with something that is not the JSON of docker's helper protocol");
  auto user = json_string(*json, "Username"), secret = json_string(*json, "Secret");
  if (user.empty() && secret.empty()) return reply;
  registry::Credentials credentials;
  if (user == "<token>") {
    credentials.identity_token = std::move(secret);
  } else {
    credentials.username = std::move(user);
    credentials.password = std::move(secret);
  }
  if (const auto flaw = registry::flaw_of(credentials); !flaw.empty())
    return failed(request, "gave an answer that cannot be used: " + flaw);
  credentials.source = fmt::format("{}, given by {}", request.source, program_of(request));
  reply.lifetime = kDockerHelperLifetime;
  registry::RegistryKey key;
  key.host = request.place.host;
  if (!request.place.is_default_port) key.port = request.place.port;
  reply.auths.emplace_back(std::move(key), std::move(credentials));
  return reply;
}

std::optional<HelperReply::Scope> scope_of(std::string_view word) {
  if (word == "Image") return HelperReply::Scope::image;
  if (word == "Registry") return HelperReply::Scope::registry;
  if (word == "Global") return HelperReply::Scope::global;
  return std::nullopt;
}

Result<HelperReply> read_kubelet(const HelperRequest& request, const ChildEnd& end) {
  if (end.status != 0) return failed(request, fmt::format("ended with status {}", end.status));
  const auto json = parse_json(end.output, {256u << 10, 16});
  if (!json || json_string(*json, "kind") != "CredentialProviderResponse")
    return failed(request, "answered with something that is no CredentialProviderResponse");
  HelperReply reply;
  const auto scope = scope_of(json_string(*json, "cacheKeyType"));
  if (!scope) return failed(request, "answered without a cacheKeyType of Image, Registry or Global");
  reply.scope = *scope;
  reply.lifetime = kDockerHelperLifetime;
  if (const Json* duration = json_find(*json, "cacheDuration"); duration && !duration->is_null()) {
    const auto parsed =
        duration->is_string() ? parse_go_duration(duration->get<std::string>()) : std::nullopt;
    if (!parsed) return failed(request, "answered with a cacheDuration that is no duration");
    reply.lifetime = *parsed;
  }
  const Json* auths = json_find(*json, "auth");
  if (auths == nullptr || auths->is_null()) return reply;
  if (!auths->is_object()) return failed(request, "answered with an `auth` that is no object");
  for (const auto& [name, value] : auths->items()) {
    auto key = registry::parse_registry_key(name);
    registry::Credentials credentials;
    credentials.username = json_string(value, "username");
    credentials.password = json_string(value, "password");
    if (!key || credentials.empty()) continue;
    if (const auto flaw = registry::flaw_of(credentials); !flaw.empty())
      return failed(request, "gave an answer that cannot be used: " + flaw);
    credentials.source = fmt::format("{}, given by {}", request.source, program_of(request));
    reply.auths.emplace_back(std::move(*key), std::move(credentials));
  }
  return reply;
}

}  // namespace

std::string program_of(const HelperRequest& request) {
  const bool is_name = !request.helper.starts_with('/');
  return is_name && request.kind == HelperKind::docker ? "docker-credential-" + request.helper
                                                       : request.helper;
}

ChildCommand command_for(const HelperRequest& request, const char* const* own) {
  ChildCommand command;
  command.arguments.push_back(program_of(request));
  for (const auto& argument : request.arguments) command.arguments.push_back(argument);
  if (request.kind == HelperKind::docker) command.arguments.emplace_back("get");
  command.environment.emplace_back(kPath);
  for (; own != nullptr && *own != nullptr; ++own) {
    const std::string_view variable(*own);
    const auto name = variable.substr(0, variable.find('='));
    if (std::find(kPassedOn.begin(), kPassedOn.end(), name) != kPassedOn.end())
      command.environment.emplace_back(variable);
  }
  for (const auto& [name, value] : request.environment) {
    std::erase_if(command.environment,
                  [&](const std::string& known) { return known.starts_with(name + "="); });
    command.environment.push_back(name + "=" + value);
  }
  command.input = input_for(request);
  command.limit = kHelperLimit;
  return command;
}

Result<HelperReply> read_reply(const HelperRequest& request, const Result<ChildEnd>& end) {
  if (!end && end.error().code == Errc::not_found)
    return failed(request, request.helper.starts_with('/')
                               ? "does not exist"
                               : "is not installed in /usr/local/bin, /usr/bin or beside them");
  if (!end) return failed(request, "cannot be started: " + end.error().message);
  switch (end->how) {
    case ChildEnd::How::took_too_long:
      return failed(request, fmt::format("did not answer within {} s and was killed", kHelperLimit.count()));
    case ChildEnd::How::said_too_much:
      return failed(request, "printed far more than an answer and was killed");
    case ChildEnd::How::by_signal:
      return failed(request, fmt::format("was ended by signal {}", end->signal));
    case ChildEnd::How::exited:
      break;
  }
  return request.kind == HelperKind::docker ? read_docker(request, *end) : read_kubelet(request, *end);
}

registry::Credentials pick(const HelperReply& reply, const registry::RegistryPlace& place) {
  const std::pair<registry::RegistryKey, registry::Credentials>* best = nullptr;
  for (const auto& entry : reply.auths)
    if (registry::fit(entry.first, place) == registry::KeyFit::fits &&
        (best == nullptr || registry::is_more_particular(entry.first, best->first)))
      best = &entry;
  return best == nullptr ? registry::Credentials() : best->second;
}

std::optional<Duration> parse_go_duration(std::string_view text) {
  constexpr double kMostSeconds = 366.0 * 86400;
  if (text == "0") return Duration::zero();
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  while (!text.empty()) {
    const auto end = text.find_first_not_of("0123456789.");
    const auto number = text.substr(0, end);
    if (end == 0 || end == std::string_view::npos || number.size() > 15) return std::nullopt;
    text.remove_prefix(end);
    const auto unit = text.substr(0, text.find_first_of("0123456789."));
    text.remove_prefix(unit.size());
    const auto point = number.find('.');
    const auto whole = registry::parse_digits(number.substr(0, point));
    const auto rest = point == std::string_view::npos ? std::string_view() : number.substr(point + 1);
    const auto part = rest.empty() ? std::optional<std::uint64_t>(0) : registry::parse_digits(rest);
    if (!whole || !part) return std::nullopt;
    double value = static_cast<double>(*part);
    for (std::size_t i = 0; i < rest.size(); ++i) value /= 10;
    value += static_cast<double>(*whole);
    const double scale = unit == "h"    ? 3600
                         : unit == "m"  ? 60
                         : unit == "s"  ? 1
                         : unit == "ms" ? 1e-3
                         : unit == "us" ? 1e-6
                         : unit == "ns" ? 1e-9
                                        : -1;
    if (scale < 0) return std::nullopt;
    seconds += value * scale;
  }
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(seconds, kMostSeconds)));
}

}  // namespace layerd::upstream
