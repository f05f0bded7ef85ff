#include "proxy/registry/registry_error.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/text.h"
#include "runtime/diagnosis.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

constexpr std::size_t kMostReason = 200;
constexpr std::size_t kMostMessage = 1000;

// A code of the spec, not one of our own lower-case diagnoses.
bool is_spec_code(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_upper(c) || c == '_'; });
}

struct Choice {
  int status;
  std::string_view code;
};

Choice unknown_of(ErrorSubject subject) {
  switch (subject) {
    case ErrorSubject::manifest:
      return {404, "MANIFEST_UNKNOWN"};
    case ErrorSubject::blob:
      return {404, "BLOB_UNKNOWN"};
    case ErrorSubject::other:
      break;
  }
  return {404, "NAME_UNKNOWN"};
}

// An answer of the upstream with a status nobody wanted. Its 429 must not be passed on: containerd
// would ask again at once, five times.
Choice choice_of_status(int status, ErrorSubject subject) {
  if (status == 401 || status == 403) return {403, "DENIED"};
  if (status == 404) return unknown_of(subject);
  if (status == 429) return {502, "TOOMANYREQUESTS"};
  return {502, "UNAVAILABLE"};
}

Choice choose(const Error& error, ErrorSubject subject) {
  switch (error.code) {
    case Errc::invalid_request:
      return {400, "NAME_INVALID"};
    case Errc::not_found:
      return unknown_of(subject);
    case Errc::denied:
      return {403, "DENIED"};
    case Errc::range_unsatisfiable:
      // An upstream's 416 is about the range we asked it for, not about the client's.
      return error.status == 416 ? Choice{502, "UNAVAILABLE"} : Choice{416, "SIZE_INVALID"};
    case Errc::upstream_status:
      return choice_of_status(error.status, subject);
    case Errc::refused_by_policy:
      return error.diagnosis == "loop" ? Choice{508, "UNSUPPORTED"} : Choice{403, "DENIED"};
    case Errc::local_io:
    case Errc::no_space:
    case Errc::overloaded:
    case Errc::canceled:
      return {503, "UNAVAILABLE"};
    case Errc::upstream_unreachable:
    case Errc::upstream_timeout:
    case Errc::upstream_protocol:
    case Errc::truncated:
    case Errc::digest_mismatch:
    case Errc::config:
      break;
  }
  return {502, "UNAVAILABLE"};
}

}  // namespace

HttpError http_error_of(const Error& error, ErrorSubject subject) {
  const Choice choice = choose(error, subject);
  HttpError answer;
  answer.status = choice.status;
  answer.code = error.code == Errc::invalid_request && is_spec_code(error.diagnosis)
                    ? error.diagnosis
                    : std::string(choice.code);
  std::string words = std::string(trim_all(error.message));
  if (words.empty()) words = std::string(error.diagnosis_code());
  if (error.retry_after)
    words += fmt::format(" (the registry asks to wait {} s)", error.retry_after->count());
  answer.message = printable(words, kMostMessage);
  answer.reason = printable(words, kMostReason);
  answer.diagnosis =
      is_spec_code(error.diagnosis) ? std::string(name_of(error.code)) : printable(stable_code(error), 64);
  return answer;
}

std::string error_body(std::string_view code, std::string_view message, std::string_view diagnosis) {
  Json entry = {{"code", std::string(code)}, {"message", std::string(message)}};
  if (!diagnosis.empty()) entry["detail"] = {{"diagnosis", std::string(diagnosis)}};
  Json body;
  body["errors"] = Json::array({std::move(entry)});
  return dump_json(body);
}

std::string UpstreamError::text() const {
  if (code.empty() || message.empty()) return code + message;
  return code + ": " + message;
}

UpstreamError read_error_body(std::string_view body) {
  constexpr std::size_t kMostBody = 65536;
  if (body.size() > kMostBody) return {};
  const auto json = parse_json(body, {kMostBody, 16});
  if (!json || !json->is_object()) return {};
  const Json* source = &*json;
  if (const Json* errors = json_find(*json, "errors"); errors && errors->is_array() && !errors->empty())
    source = &errors->front();
  const auto first_of = [&](std::initializer_list<const char*> keys, std::size_t most) {
    for (const char* key : keys)
      if (auto text = json_string(*source, key); !text.empty())
        return std::string(trim_all(printable(text, most)));
    return std::string();
  };
  // Token servers say {"details": …} or OAuth2's {"error": …, "error_description": …}.
  return {first_of({"code", "error"}, 64),
          first_of({"message", "error_description", "details", "detail"}, 200)};
}

}  // namespace layerd::registry
