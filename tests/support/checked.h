// `layerd check` run by a test, and its JSON taken apart; and the error of a pull of the same thing beside
// it.
#pragma once

#include <string>
#include <vector>

#include "runtime/json.h"
#include "tests/support/layerd_daemon.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

struct Checked {
  int status = -1;
  std::string output;
  Json report;

  std::string code() const { return word("code"); }
  std::string cause() const { return word("cause"); }
  std::string remedy() const { return word("remedy"); }
  // The first step of that name, null if there is none; its line and details as one text.
  const Json* step(const std::string& name) const {
    const Json* steps = json_find(report, "steps");
    for (std::size_t i = 0; steps != nullptr && i < steps->size(); ++i)
      if (json_string((*steps)[i], "step") == name) return &(*steps)[i];
    return nullptr;
  }
  std::string text(const std::string& name) const {
    const Json* found = step(name);
    if (found == nullptr) return "(no step " + name + ")";
    std::string all = json_string(*found, "said");
    for (const auto& detail : found->value("details", Json::array())) all += "\n" + detail.get<std::string>();
    return all;
  }

 private:
  std::string word(const char* name) const {
    const Json* diagnosis = json_find(report, "diagnosis");
    return diagnosis == nullptr ? std::string() : json_string(*diagnosis, name);
  }
};

// No container runtime of this machine is looked at.
inline Checked check(const LayerdDaemon& layerd, const std::string& name, std::vector<std::string> more = {},
                     const std::string& runtime_root = "") {
  const TempDir nothing("layerd-no-runtime");
  std::vector<std::string> arguments{"check", name, "--json", "--root",
                                     runtime_root.empty() ? nothing.path() : runtime_root};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished finished = layerd.command(std::move(arguments));
  Checked checked{finished.status, finished.output, Json::object()};
  if (auto json = parse_json(finished.output)) checked.report = std::move(*json);
  return checked;
}

// The stable code in the JSON error of an answer; empty if there is none.
inline std::string code_in(const ProbeReply& reply) {
  const auto json = parse_json(reply.body);
  const Json* errors = json ? json_find(*json, "errors") : nullptr;
  if (errors == nullptr || !errors->is_array() || errors->empty()) return {};
  const Json* detail = json_find(errors->front(), "detail");
  return detail == nullptr ? std::string() : json_string(*detail, "diagnosis");
}

}  // namespace layerd::test
