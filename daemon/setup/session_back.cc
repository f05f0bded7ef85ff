// The ways back of session.h: a run that was broken off, one that failed, and --undo.
#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/diff.h"
#include "daemon/setup/own_config.h"
#include "daemon/setup/session.h"
#include "daemon/setup/yaml_edit.h"

namespace layerd::daemon::setup {
namespace {

std::string line_of(const std::string& registries) { return "registries_file: " + yaml_quoted(registries); }

std::string joined(const std::vector<std::string>& sentences) {
  std::string out;
  for (const auto& each : sentences) out += (out.empty() ? "" : "; ") + each;
  return out;
}

// What a person can do about files that could not be put back.
std::string ways_out(const std::string& runtime) {
  return fmt::format(
      "Mend the cause, take layerd out of the file by hand or put the copy in its place; then `layerd "
      "setup {0}` or `layerd setup {0} --undo` tries again. With --keep these files stay as they "
      "are now, and setup forgets their copies",
      runtime);
}

}  // namespace

void Session::say_what_was_broken_off() const {
  const auto say_one = [&](const std::string& name, const Applier& applier) {
    for (const auto& file : applier.record().run)
      say_(fmt::format(
          "note: an earlier setup of {} was broken off, or could not put back {}; without --dry-run "
          "that is tried first{}",
          name, file.path, file.copy.empty() ? "" : " (as it was before: " + applier.copy_path(file) + ")"));
  };
  say_one(options_.runtime, applier_);
  for (const auto& [name, record] : others_) {
    Applier other(record_folder(name));
    if (other.open(false)) say_one(name, other);
  }
}

// What the file of layerd's own configuration says stays somebody else's, but a file that goes must not be
// named any more. The file with what was copied is made of the records alone.
Inverse Session::way_back_of(const std::string& runtime, const Record& record) const {
  const RecordedFile* copied = find_file(record.run, registries_path());
  const bool goes = copied && copied->before.empty();
  const std::string own_folder =
      options_.config_path.substr(0, options_.config_path.rfind('/') + 1) + "from-" + runtime + "/";
  using Text = Result<std::optional<std::string>>;
  return [this, runtime, goes, own_folder](const std::string& path, const std::string& text) -> Text {
    const std::string registries = registries_path();
    if (path.starts_with(own_folder) || (path == registries && goes)) return std::optional<std::string>();
    if (path == options_.config_path && goes)
      return std::optional<std::string>(without_top_line(text, line_of(registries)));
    if (path == registries || path == options_.config_path) return std::optional<std::string>(text);
    return make_runtime(runtime)->without_layerd(path, text, input_.url);
  };
}

// A run that was killed in the middle is put back before anything else; that of another runtime as well,
// since they share layerd's configuration.
Result<Ok> Session::recover() {
  std::vector<std::string> problems;
  bool is_any = false;
  for (const auto& name : runtime_names()) {
    Applier other(record_folder(name), options_.at_step);
    const auto record = others_.find(name);
    if (record != others_.end()) {
      if (record->second.empty()) continue;
      if (auto open = other.open(true); !open) return open;
      record->second = other.record();
    }
    Applier& applier = name == options_.runtime ? applier_ : other;
    if (!applier.was_broken_off()) continue;
    is_any = true;
    say_(fmt::format("the last setup of {} was broken off in the middle; what it wrote is put back first",
                     name));
    const WayBack way = applier.roll_back(way_back_of(name, applier.record()));
    for (const auto& remark : way.remarks) say_("note: " + remark);
    for (const auto& problem : way.problems) {
      if (options_.keep) say_("note: " + problem + "; it stays as it is now");
      if (!options_.keep) problems.push_back(problem + ". " + ways_out(name));
    }
    if (options_.keep && !way.is_whole())
      if (auto kept = applier.keep_as_it_is(); !kept) return kept;
    if (record != others_.end()) record->second = other.record();
  }
  if (auto reloaded = is_any && runs_ ? daemon_.reload() : Result<Ok>(Ok{}); !reloaded)
    say_("layerd: " + reloaded.error().message);
  return problems.empty() ? Result<Ok>(Ok{}) : Error{Errc::local_io, joined(problems)};
}

Result<Ok> Session::back(Error why) {
  const WayBack way = applier_.roll_back(way_back_of(options_.runtime, applier_.record()));
  if (!own_.empty())
    if (auto reloaded = daemon_.reload(); !reloaded) say_("layerd: " + reloaded.error().message);
  for (const auto& remark : way.remarks) say_("note: " + remark);
  why.message += way.is_whole() ? "; every file is as it was before"
                                : "; AND NOT ALL COULD BE PUT BACK: " + joined(way.problems) + ". " +
                                      ways_out(options_.runtime);
  return why;
}

// Files of this runtime's record that another runtime goes by: they stay, and the other one's undo takes
// them. Where this one only added to what the other wrote, it goes back to that.
void Session::find_heirs() {
  const std::string registries = registries_path();
  for (const auto& file : applier_.record().files)
    for (const auto& [name, record] : others_) {
      const bool is_own = file.path == registries || file.path == options_.config_path;
      if (is_own ? record.copied.empty() : !record.goes_by(file.path)) continue;
      const RecordedFile* theirs = find_file(record.files, file.path);
      auto now = read_if_there(file.path);
      const bool is_last = file.exact && now && digest_text(*now) == file.after;
      if (!is_own && theirs && theirs->after == file.before && is_last) continue;
      heirs_.emplace(file.path, name);
    }
}

// What other runtimes brought stays: the file is theirs as well. Without any, the line that names the
// file goes with it, whoever changed config.yaml since.
Result<std::vector<FileChange>> Session::undo_changes() const {
  const std::string registries = registries_path();
  const Copied others = copied_of_others(nullptr);
  auto changes = applier_.undo_changes(way_back_of(options_.runtime, applier_.record()),
                                       [&](const std::string& path) { return heirs_.contains(path); });
  if (!changes) return changes;
  if (others.empty()) return without_line(std::move(*changes), registries);
  std::erase_if(*changes, [&](const FileChange& change) {
    return change.path == options_.config_path || change.path == registries;
  });
  auto now = read_if_there(registries);
  if (!now) return std::move(now).error();
  FileChange rest;
  rest.path = registries;
  rest.before = std::move(*now);
  rest.after = registries_text_of(others);
  rest.what = "what other runtimes brought stays";
  if (rest.before && rest.before != rest.after) changes->push_back(std::move(rest));
  return changes;
}

Result<std::vector<FileChange>> Session::without_line(std::vector<FileChange> changes,
                                                      const std::string& registries) const {
  // The change of `path`, made where there is none; null: there is no such file.
  const auto change_of = [&](const std::string& path) -> Result<FileChange*> {
    for (auto& change : changes)
      if (change.path == path) return &change;
    auto now = read_if_there(path);
    if (!now) return std::move(now).error();
    if (!*now) return nullptr;
    FileChange made;
    made.path = path;
    made.before = made.after = std::move(*now);
    made.what = "what setup wrote goes";
    return &changes.emplace_back(std::move(made));
  };
  auto config = change_of(options_.config_path);
  if (!config) return std::move(config).error();
  bool is_named = false;  // in words of somebody's own; then the file stays and says nothing
  if (FileChange* change = *config; change && change->after) {
    change->after = without_top_line(*change->after, line_of(registries));
    is_named = change->after->find(registries) != std::string::npos;
  }
  auto file = change_of(registries);
  if (!file) return std::move(file).error();
  if (FileChange* change = *file) {
    if (!is_named) change->after.reset();
    if (is_named && !change->after) change->after = registries_text_of({});
    if (is_named && change->after == change->before) change->after = registries_text_of({});
  }
  std::erase_if(changes, [](const FileChange& change) { return change.before == change.after; });
  return changes;
}

void Session::read_secrets() {
  std::vector<std::pair<std::string, Copied>> all;
  std::vector<std::string> ignored;
  if (auto root = read_yaml("record", applier_.record().copied))
    plan_.copied = read_copied("record", *root, ignored);
  copied_of_others(&all);  // with this one
  for (const auto& [name, copied] : all)
    for (auto& secret : secrets_of(copied)) plan_.secrets.push_back(std::move(secret));
}

Result<Ok> Session::hand_over() {
  for (const auto& [name, record] : others_) {
    std::vector<std::string> paths;
    for (const auto& [path, heir] : heirs_)
      if (heir == name) paths.push_back(path);
    if (paths.empty()) continue;
    Applier heir(record_folder(name), options_.at_step);
    if (auto open = heir.open(true); !open) return open;
    if (auto done = heir.inherit(applier_, paths); !done) return done;
  }
  return Ok{};
}

Result<Ok> Session::undo() {
  if (applier_.record().empty()) {
    say_(fmt::format("nothing to undo: setup changed nothing for {}", runtime_->name()));
    return Ok{};
  }
  find_heirs();
  auto changes = undo_changes();
  if (!changes) return std::move(changes).error();
  if (auto good = check_places(*changes); !good) return good;
  std::reverse(changes->begin(), changes->end());  // the runtime's files first
  read_secrets();
  for (const auto& [path, heir] : heirs_)
    say_(fmt::format("{} stays: {} goes by it as well; it goes with `layerd setup {} --undo`", path,
                     make_runtime(heir)->name(), heir));
  say_diffs({&*changes}, "would restore", "restores");
  if (options_.dry_run) return Ok{};
  if (auto begun = applier_.begin(*changes); !begun) return begun;
  for (const auto& change : *changes)
    if (auto written = applier_.write(change); !written) return back(std::move(written).error());
  if (auto handed = hand_over(); !handed) return back(std::move(handed).error());
  if (auto done = applier_.forget(); !done) return done;
  if (auto reloaded = runs_ ? daemon_.reload() : Result<Ok>(Ok{}); !reloaded)
    say_("layerd: " + reloaded.error().message);
  say_(fmt::format("{} is as it was before setup", runtime_->name()));
  return Ok{};
}

}  // namespace layerd::daemon::setup
