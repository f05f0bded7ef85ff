// What can be wrong with a pull, as a closed list of stable codes: for programs, for the error a runtime
// gets, for the log and for `layerd check`. docs/diagnoses.md has a section for each, and a test compares the
// two. Errors carry finer words (Error::diagnosis); here is the one place that says which code they are.
// Pure, any thread.
#pragma once

#include <array>
#include <string_view>

#include "runtime/result.h"

namespace layerd {

enum class Diagnosis {
  tls_name_mismatch,
  tls_unknown_ca,
  tls_expired,
  tls_not_yet_valid,
  dns_not_found,
  dns_suspicious,
  connect_refused,
  connect_timeout,
  scheme_mismatch,
  credentials_missing,
  credentials_unusable,
  credentials_other_host,
  credentials_refused,
  repository_denied,
  repository_unknown,
  tag_unknown,
  rate_limited,
  proxy_failed,
  storage_unreachable,
  platform_missing,
  not_configured,
  runtime_bypass,
  upstream_error,
};
inline constexpr std::size_t kDiagnoses = 23;

struct DiagnosisText {
  Diagnosis diagnosis;
  std::string_view code;   // "tls_name_mismatch"; the anchor in docs/diagnoses.md
  std::string_view cause;  // a sentence without a final stop, for when nothing more particular is known
  std::string_view
      remedy;  // likewise; {host}, {registry}, {repository}, {reference} and {source} are filled in
};

const std::array<DiagnosisText, kDiagnoses>& diagnoses();
const DiagnosisText& text_of(Diagnosis diagnosis);
inline std::string_view code_of(Diagnosis diagnosis) { return text_of(diagnosis).code; }

// Total: what has no word of its own is an upstream_error.
Diagnosis diagnosis_of(const Error& error);

// For the error a client gets and for the log: the stable code when the error is about the way to the image;
// the error's own word when it is about this machine or about the request.
std::string_view stable_code(const Error& error);

}  // namespace layerd
