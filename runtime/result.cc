#include "runtime/result.h"

#include <system_error>

namespace layerd {

std::string_view name_of(Errc code) {
  switch (code) {
    case Errc::invalid_request:
      return "invalid_request";
    case Errc::not_found:
      return "not_found";
    case Errc::denied:
      return "denied";
    case Errc::range_unsatisfiable:
      return "range_unsatisfiable";
    case Errc::upstream_unreachable:
      return "upstream_unreachable";
    case Errc::upstream_timeout:
      return "upstream_timeout";
    case Errc::upstream_status:
      return "upstream_status";
    case Errc::upstream_protocol:
      return "upstream_protocol";
    case Errc::truncated:
      return "truncated";
    case Errc::digest_mismatch:
      return "digest_mismatch";
    case Errc::local_io:
      return "local_io";
    case Errc::no_space:
      return "no_space";
    case Errc::refused_by_policy:
      return "refused_by_policy";
    case Errc::overloaded:
      return "overloaded";
    case Errc::canceled:
      return "canceled";
    case Errc::config:
      return "config";
  }
  return "unknown";
}

Error errno_error(std::string_view what, int sys_errno, Errc code) {
  Error error;
  error.code = code;
  error.message = std::string(what) + ": " + std::generic_category().message(sys_errno);
  error.sys_errno = sys_errno;
  return error;
}

}  // namespace layerd
