#include "daemon/config_command.h"

#include <fmt/core.h>

#include <cstdio>

#include "daemon/config.h"
#include "daemon/config_aliases.h"
#include "daemon/last_good.h"
#include "daemon/settings_table.h"

namespace layerd::daemon {
namespace {

void print_problems(const char* kind, const std::vector<Problem>& problems) {
  for (const auto& problem : problems) fmt::print(stderr, "{}: {}\n", kind, problem.str());
}

}  // namespace

int config_command(const std::string& path, bool path_given, bool check_only, bool markdown) {
  if (markdown) {
    fmt::print("{}", settings_markdown());
    return 0;
  }
  const auto loaded = load_config(path, {.must_exist = path_given, .check_files = true});
  print_problems("warning", loaded.warnings);
  print_problems("error", loaded.errors);
  if (!loaded.ok()) return 2;
  if (!check_only) {
    fmt::print("{}", print_settings(*loaded.settings));
    return 0;
  }
  for (const auto& note : fall_backs_of_aliases(loaded.settings->rules)) fmt::print("note: {}\n", note);
  fmt::print("{}: valid{}\n", loaded.sources.config_path.empty() ? "built-in defaults" : path,
             loaded.warnings.empty() ? "" : fmt::format(", {} warnings", loaded.warnings.size()));
  return 0;
}

Result<SettingsPtr> settings_for_command(const std::string& path, bool path_given) {
  auto loaded = load_config(path, {.must_exist = path_given, .check_files = false});
  if (loaded.ok()) return loaded.settings;
  print_problems("error", loaded.errors);
  // The daemon may run from the last good configuration; its socket and store are named there.
  if (auto last_good = find_last_good(path, path_given)) return last_good->settings;
  return Error{Errc::config, "the configuration is wrong"};
}

}  // namespace layerd::daemon
