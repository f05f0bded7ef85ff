// From the error that ended a walk, and what the walk had seen by then, to the diagnosis that is told: the
// stable code, one sentence of cause, one of remedy. Pure.
#pragma once

#include <string>

#include "proxy/check_report.h"
#include "runtime/result.h"

namespace layerd::proxy {

// What sentences are filled with; all of it printable.
struct VerdictFacts {
  std::string host;          // of the endpoint, "host" or "host:port"
  std::string registry;      // as resolved
  std::string repository;    // as the endpoint has it; empty: only the login was walked
  std::string reference;     // tag or digest
  std::string source;        // of the credentials that were sent; may be empty
  std::string other_scheme;  // "http" for an https endpoint
  std::string
      secret_flaw;       // what is odd about the secret that was sent ("it ends with a space"); mostly empty
  std::string clock;     // "this machine's clock is 3 h behind the server's"; empty: it is right, or unknown
  std::string redirect;  // where the endpoint's /v2/ leads with another scheme; mostly empty
};

CheckDiagnosis verdict_of(const Error& error, const VerdictFacts& facts);
// For what no error stands for.
CheckDiagnosis verdict_of(Diagnosis diagnosis, std::string cause, const VerdictFacts& facts);

// What no password has on purpose, as a sentence that does not show it; empty: nothing odd.
std::string flaw_of_secret(std::string_view secret);

}  // namespace layerd::proxy
