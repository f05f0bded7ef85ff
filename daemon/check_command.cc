#include "daemon/check_command.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "daemon/admin_client.h"
#include "daemon/app.h"
#include "daemon/config_aliases.h"
#include "daemon/print.h"
#include "daemon/runtime_files.h"
#include "proxy/registry/text.h"
#include "runtime/diagnosis.h"

namespace layerd::daemon {
namespace {

constexpr int kWaitSeconds = 150;  // longer than a walk may take
constexpr std::size_t kStepWidth = 12;

// Nobody serves: a loop of our own walks with what the configuration says.
AdminAnswer walk_alone(const SettingsPtr& settings, const CheckOptions& options) {
  UvLoop loop;
  AdminAnswer answer;
  {
    auto app = App::for_check(loop, settings);
    auto pending = app->check(options.name, options.platform, [&](AdminReply reply) {
      answer = {reply.status, std::move(reply.body)};
      loop.stop();
    });
    loop.run();
  }
  loop.close();
  return answer;
}

std::string target_of(const CheckOptions& options) {
  auto target = "/v1/check?name=" + registry::percent_encode(options.name);
  if (!options.platform.empty()) target += "&platform=" + registry::percent_encode(options.platform);
  return target;
}

Result<Json> walk(const SettingsPtr& settings, const CheckOptions& options) {
  auto answer = settings->admin_socket.empty()
                    ? Result<AdminAnswer>(Errc::not_found, "no admin socket is configured")
                    : ask_admin(settings->admin_socket, "GET", target_of(options), kWaitSeconds);
  if (!answer && answer.error().code == Errc::not_found) answer = walk_alone(settings, options);
  if (!answer) return std::move(answer).error();
  if (answer->status == 200) return std::move(answer->body);
  const Json* error = json_find(answer->body, "error");
  return Error{answer->status == 400 ? Errc::invalid_request : Errc::local_io,
               error ? json_string(*error, "message") : fmt::format("the daemon answers {}", answer->status)};
}

// Letters where ✓ and ✗ may not arrive.
bool is_plain() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text(value);
    const bool is_utf8 = text.find("UTF-8") != text.npos || text.find("utf8") != text.npos;
    return !is_utf8 || !is_terminal(1);
  }
  return true;
}

void add_step(Json& report, const char* step, const Json& ok, const std::string& said,
              const std::vector<std::string>& details) {
  report["steps"].push_back({{"step", step}, {"ok", ok}, {"said", said}, {"details", details}});
}

std::string asked_words(const Json& report) {
  if (!report.value("daemon", false)) return "no daemon runs, so nobody was asked";
  const auto uptime = human_seconds(static_cast<double>(json_int(report, "uptime_seconds")));
  const Json* asked = json_find(report, "asked_seconds");
  if (asked && asked->is_number())
    return fmt::format("layerd was asked for it {} ago", human_seconds(asked->get<double>()));
  return fmt::format("layerd was not asked for it in the {} it runs", uptime);
}

bool was_asked(const Json& report) {
  const Json* asked = json_find(report, "asked_seconds");
  return asked && asked->is_number();
}

}  // namespace

void judge_runtimes(Json& report, const Settings& settings, const std::string& runtime_root) {
  const auto registry = json_string(report, "registry");
  if (registry.empty() || !report["steps"].is_array()) return;
  const auto views = look_at_runtimes(runtime_root, registry, settings.listen);
  std::vector<std::string> details;
  bool is_bypassed = false, is_asked = was_asked(report), is_unknown = false;
  for (const auto& view : views) {
    details.push_back(view.runtime + ": " + view.said);
    is_bypassed = is_bypassed || view.way == RuntimeView::Way::bypasses;
    is_asked = is_asked || view.way == RuntimeView::Way::asks;
    is_unknown = is_unknown || view.way == RuntimeView::Way::unknown;
  }
  details.push_back(asked_words(report));
  for (const auto& note : fall_backs_of_aliases(settings.rules))
    if (note.find(registry + " ") != std::string::npos) details.push_back(note);
  if (is_asked) return add_step(report, "runtime", true, "asks layerd for " + registry, details);
  if (!is_bypassed || is_unknown)
    return add_step(
        report, "runtime", nullptr,
        views.empty() ? "no container runtime's configuration is here" : "it is not known whom it asks",
        details);
  const auto cause =
      fmt::format("the container runtime does not ask layerd for {}: {}", registry, details.front());
  add_step(report, "runtime", false, cause, {details.begin() + 1, details.end()});
  if (!report.value("ok", false)) return;
  report["ok"] = false;
  report["diagnosis"] = {
      {"code", code_of(Diagnosis::runtime_bypass)},
      {"cause", cause},
      {"remedy", fmt::format("run `layerd setup` for the runtime, or point its mirror for {} at "
                             "http://{}",
                             registry, settings.listen.front().str())}};
}

std::string check_text(const Json& report, bool plain) {
  std::string text;
  for (const auto& step : report.value("steps", Json::array())) {
    const Json* ok = json_find(step, "ok");
    const bool is_told = ok == nullptr || !ok->is_boolean();
    const bool is_good = !is_told && ok->get<bool>();
    const char* mark = is_told   ? (plain ? "-   " : "·")
                       : is_good ? (plain ? "ok  " : "✓")
                                 : (plain ? "FAIL" : "✗");
    auto name = json_string(step, "step");
    name.resize(std::max(name.size(), kStepWidth), ' ');
    text += fmt::format("{} {} {}\n", mark, name, json_string(step, "said"));
    for (const auto& detail : step.value("details", Json::array()))
      if (detail.is_string())
        text += fmt::format("{}   {}\n", std::string(plain ? 17 : 14, ' '), detail.get<std::string>());
  }
  const Json* diagnosis = json_find(report, "diagnosis");
  if (diagnosis == nullptr || !diagnosis->is_object()) return text + "\nAll is well.\n";
  const auto code = json_string(*diagnosis, "code");
  return text + fmt::format("\ncause:  {}.\nremedy: {}.\ncode:   {} (docs/diagnoses.md#{})\n",
                            json_string(*diagnosis, "cause"), json_string(*diagnosis, "remedy"), code, code);
}

int check_command(const SettingsPtr& settings, const CheckOptions& options) {
  auto report = walk(settings, options);
  if (!report) {
    fmt::print(stderr, "layerd: {}\n", report.error().message);
    return report.error().code == Errc::invalid_request ? 2 : 1;
  }
  judge_runtimes(*report, *settings, options.runtime_root);
  if (options.json) {
    fmt::print("{}\n", dump_json(*report, 2));
  } else {
    fmt::print("{}", check_text(*report, is_plain()));
  }
  return report->value("ok", false) ? 0 : 1;
}

}  // namespace layerd::daemon
