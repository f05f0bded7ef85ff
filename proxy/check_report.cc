#include "proxy/check_report.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostSteps = 200;

Json json_of(const CheckStep& step) {
  Json row{{"step", step.step}, {"said", step.said}, {"details", step.details}};
  // Neither well nor broken is null.
  row["ok"] = step.state == StepState::told ? Json() : Json(step.state == StepState::good);
  if (!step.facts.empty()) row["facts"] = step.facts;
  return row;
}

}  // namespace

CheckStep& CheckReport::add(std::string_view step, StepState state, std::string said) {
  if (steps.size() >= kMostSteps) steps.pop_back();  // of an image that never ends
  steps.push_back({std::string(step), state, std::move(said), {}, Json::object()});
  return steps.back();
}

Json CheckReport::json() const {
  Json rows = Json::array();
  for (const auto& step : steps) rows.push_back(json_of(step));
  Json whole{{"name", name},
             {"registry", asked_registry},
             {"ok", ok()},
             {"steps", std::move(rows)},
             {"diagnosis", nullptr}};
  if (diagnosis)
    whole["diagnosis"] = {
        {"code", code_of(diagnosis->code)}, {"cause", diagnosis->cause}, {"remedy", diagnosis->remedy}};
  return whole;
}

}  // namespace layerd::proxy
