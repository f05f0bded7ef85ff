// Results and errors. No exception crosses a function of ours; what can fail returns a Result.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/check.h"

namespace layerd {

// Whose fault a failure is. Retry, failover and the status a client sees follow from this alone.
enum class Errc {
  invalid_request,       // the client asked for something malformed
  not_found,             // it does not exist (at the source that was asked)
  denied,                // credentials are missing, wrong, or without the right
  range_unsatisfiable,   // the range begins at or past the end
  upstream_unreachable,  // DNS, connect or TLS failed: no byte of an answer arrived
  upstream_timeout,      // connected, but the answer or its bytes did not come in time
  upstream_status,       // an answer with an unexpected status (Error::status)
  upstream_protocol,     // an answer that is not what a registry says (HTML, bad length, ...)
  truncated,             // the body ended early
  digest_mismatch,       // all bytes came and they are the wrong ones
  local_io,              // this machine's disk or kernel failed (Error::sys_errno)
  no_space,              // the disk or the cache's budget is full
  refused_by_policy,     // our own rules forbid it (allow, private addresses, loops)
  overloaded,            // a bound of ours was reached; trying later may succeed
  canceled,              // we are shutting down, or the work was taken back
  config,                // the configuration is wrong
};

// The word for it in logs, metrics and JSON, e.g. "upstream_timeout".
std::string_view name_of(Errc code);

// What went wrong. `message` is one sentence without a final stop that names cause and place, is
// fit for a user, and never holds a secret.
struct Error {
  Errc code = Errc::local_io;
  std::string message;
  int sys_errno = 0;        // errno, 0 if none
  int status = 0;           // HTTP status of the upstream's answer, 0 if none
  std::string diagnosis{};  // stable code for programs ("tls_name_mismatch"); empty: name_of(code)
  std::optional<std::chrono::seconds> retry_after{};  // the upstream's own wish, if it gave one
  // A 404 to who has no credentials, of a registry that wants some: it may be hiding what it has.
  bool may_be_hidden = false;

  std::string_view diagnosis_code() const { return diagnosis.empty() ? name_of(code) : diagnosis; }
};

// An Error of `code` from errno: "cannot open /x: No such file or directory".
Error errno_error(std::string_view what, int sys_errno, Errc code = Errc::local_io);

struct Ok {};

// A value or an Error. Exactly one is there.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT: conversions are the point
  Result(Error error) : error_(std::move(error)) {}  // NOLINT
  Result(Errc code, std::string message) : error_{code, std::move(message)} {}

  explicit operator bool() const { return value_.has_value(); }
  bool ok() const { return value_.has_value(); }
  T& operator*() & { return get(); }
  const T& operator*() const& { return const_cast<Result*>(this)->get(); }
  T&& operator*() && { return std::move(get()); }
  T* operator->() { return &get(); }
  const T* operator->() const { return &const_cast<Result*>(this)->get(); }
  const Error& error() const& {
    LAYERD_CHECK(!ok());
    return error_;
  }
  Error&& error() && {
    LAYERD_CHECK(!ok());
    return std::move(error_);
  }

 private:
  T& get() {
    LAYERD_CHECK(ok());
    return *value_;
  }

  std::optional<T> value_;
  Error error_;
};

}  // namespace layerd
