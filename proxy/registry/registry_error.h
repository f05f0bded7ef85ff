// Errors as the distribution spec writes them, out and in, and the one place that turns an Error
// into what a client sees (protocol.md §7.2). Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace layerd::registry {

// What was asked for; decides between MANIFEST_UNKNOWN, BLOB_UNKNOWN and NAME_UNKNOWN.
enum class ErrorSubject : std::uint8_t { manifest, blob, other };

struct HttpError {
  int status = 502;
  std::string code;       // of the spec: upper case and '_'
  std::string reason;     // phrase of the status line: printable ASCII, 1..200 bytes, no line end
  std::string message;    // the same words, at most 1 000 printable bytes
  std::string diagnosis;  // stable code for programs, in `detail` (docs/diagnoses.md)
};

// containerd tries its next host on every one of these and asks none of them again and again:
// 400 401 never 429; 403 for what upstream refused; 502 for an upstream that is down.
HttpError http_error_of(const Error& error, ErrorSubject subject);

// {"errors":[{"code":…,"message":…,"detail":{"diagnosis":…}}]}
std::string error_body(std::string_view code, std::string_view message, std::string_view diagnosis = {});
inline std::string error_body(const HttpError& error) {
  return error_body(error.code, error.message, error.diagnosis);
}

// The first error of an upstream's body, whatever dialect: printable, code at most 64 and message at
// most 200 bytes; both empty if the body says nothing. Reads at most 64 KiB.
struct UpstreamError {
  std::string code, message;
  // "DENIED: requested access to the resource is denied"; empty if both are.
  std::string text() const;
};
UpstreamError read_error_body(std::string_view body);

}  // namespace layerd::registry
