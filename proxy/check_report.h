// CheckReport: what `layerd check` found out, step by step, as plain values and as JSON (docs/check.md). Text
// that came from outside is printable and bounded before it gets here; nothing here holds a secret.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/diagnosis.h"
#include "runtime/json.h"

namespace layerd::proxy {

enum class StepState {
  good,  // ✓
  bad,   // ✗: the way ends here, or would
  told,  // neither: something worth knowing
};

struct CheckStep {
  std::string step;  // one of docs/check.md: "name", "rules", "dns", ...
  StepState state = StepState::good;
  std::string said;                  // one line
  std::vector<std::string> details;  // further lines: near misses, servers, certificates
  Json facts = Json::object();       // for machines
};

struct CheckDiagnosis {
  Diagnosis code = Diagnosis::upstream_error;
  std::string cause, remedy;  // a sentence each, without a final stop
};

struct CheckReport {
  std::string name;
  std::string asked_registry;  // as clients name it, before aliases; empty: the name was not understood
  std::vector<CheckStep> steps;
  std::optional<CheckDiagnosis> diagnosis;  // nothing: all is well

  bool ok() const { return !diagnosis; }
  CheckStep& add(std::string_view step, StepState state, std::string said);
  Json json() const;
};

}  // namespace layerd::proxy
