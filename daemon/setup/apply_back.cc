// The ways back of apply.h: what was begun is rolled back, what stands is undone, or left to another runtime.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/setup/apply.h"
#include "daemon/setup/files.h"

namespace layerd::daemon::setup {
namespace {

// Does the undo of `mine` lead through what `given` wrote? Then given's copy is the older one.
bool comes_first(const RecordedFile& given, const RecordedFile& mine) {
  if (given.before == mine.before || mine.after == given.before) return false;
  return given.after == mine.before || given.before.empty();
}

// The chain of what both wrote is known, so that the older copy is exactly what was there before both.
bool is_chain(const RecordedFile& given, const RecordedFile& mine) {
  return given.before == mine.before || mine.after == given.before || given.after == mine.before;
}

bool is_in(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

Result<std::optional<std::string>> Applier::copy_of(const RecordedFile& file) const {
  if (file.before.empty()) return std::optional<std::string>();
  auto copy = read_if_there(copy_path(file));
  if (!copy) return copy;
  if (digest_text(*copy) != file.before)
    return {Errc::local_io,
            fmt::format("{}, the copy of {}, is missing or was changed; take layerd out of it "
                        "by hand",
                        copy_path(file), file.path)};
  return copy;
}

Result<Ok> Applier::give(const RecordedFile& file, const std::optional<std::string>& now,
                         const std::optional<std::string>& wanted) {
  if (wanted == now) return Ok{};
  const auto is_unchanged = [&]() -> Result<Ok> {
    at_step_();
    auto then = read_if_there(file.path);
    if (!then) return std::move(then).error();
    return *then == now ? Result<Ok>(Ok{})
                        : Error{Errc::local_io, file.path + " was changed while it was put back"};
  };
  if (wanted) {
    if (auto made = make_folders_for(file.path, 0755); !made) return std::move(made).error();
    return write_whole(
        file.path, *wanted,
        {file.mode, std::pair<uid_t, gid_t>(file.uid, file.gid), file.temporary, is_unchanged});
  }
  if (auto same = is_unchanged(); !same) return same;
  return remove_whole(file.path);
}

Result<Ok> Applier::put_back(const RecordedFile& file, const Inverse& inverse, WayBack& way) {
  if (!file.temporary.empty()) ::unlink(file.temporary.c_str());
  auto now = read_if_there(file.path);
  if (!now) return std::move(now).error();
  const std::string digest = digest_text(*now);
  if (digest == file.before) return Ok{};
  auto wanted = copy_of(file);
  if (digest == file.after && wanted) return give(file, *now, *wanted);
  if (*now) {
    wanted = inverse(file.path, **now);
    if (!wanted) return std::move(wanted).error();
    if (auto given = give(file, *now, *wanted); !given) return given;
  }
  way.remarks.push_back(fmt::format("{} was {} by somebody else meanwhile; that stays{}", file.path,
                                    *now ? "changed" : "removed",
                                    *now ? ", what setup added to it is taken out" : ""));
  return Ok{};
}

// A file that stays may name others in its folder, or below: layerd's configuration the file with what was
// copied, and that the certificates. They stay with it.
WayBack Applier::roll_back(const Inverse& inverse) {
  WayBack way;
  Record rest = record_;
  rest.run.clear();
  std::vector<std::string> folders;  // of files that stay
  for (auto file = record_.run.rbegin(); file != record_.run.rend(); ++file) {
    const bool may_be_named = std::any_of(folders.begin(), folders.end(), [&](const std::string& folder) {
      return file->path.starts_with(folder + "/");
    });
    at_step_();
    auto back =
        may_be_named ? Error{Errc::local_io, "a file that stays may name it"} : put_back(*file, inverse, way);
    if (back) {
      if (!file->copy.empty()) rest.stale.push_back(file->copy);
      continue;
    }
    way.problems.push_back(fmt::format(
        "{} could not be put back: {}; {}", file->path, back.error().message,
        file->before.empty() ? "it was not there before" : "as it was before: " + copy_path(*file)));
    folders.push_back(folder_above(file->path));
    rest.run.insert(rest.run.begin(), *file);
  }
  remove_folders(rest.run_folders);
  if (rest.run.empty()) rest.run_folders.clear();
  at_step_();
  if (auto saved = save_record(folder_, rest); !saved) way.problems.push_back(saved.error().message);
  record_ = std::move(rest);
  tidy();
  return way;
}

Result<Ok> Applier::keep_as_it_is() {
  Record rest = record_;
  for (const auto& file : rest.run) {
    if (!file.copy.empty()) rest.stale.push_back(file.copy);
    if (!file.temporary.empty()) ::unlink(file.temporary.c_str());
  }
  rest.run.clear();
  rest.run_folders.clear();
  at_step_();
  if (auto saved = save_record(folder_, rest); !saved) return saved;
  record_ = std::move(rest);
  tidy();
  return Ok{};
}

Result<std::vector<FileChange>> Applier::undo_changes(
    const Inverse& inverse, const std::function<bool(const std::string& path)>& stays) const {
  std::vector<FileChange> changes;
  for (const auto& file : record_.files) {
    if (stays(file.path)) continue;
    auto now = read_if_there(file.path);
    if (!now) return std::move(now).error();
    FileChange change;
    change.path = file.path;
    change.before = *now;
    change.mode = file.mode;
    change.owner = std::pair<uid_t, gid_t>(file.uid, file.gid);
    const std::string digest = digest_text(*now);
    if (digest == file.before) continue;
    if (file.exact && digest == file.after) {
      auto copy = copy_of(file);
      if (!copy) return std::move(copy).error();
      change.after = std::move(*copy);
      change.what = file.before.empty() ? "was not there before" : "as it was before";
    } else if (*now) {
      auto without = inverse(file.path, **now);
      if (!without) return std::move(without).error();
      change.after = std::move(*without);
      change.what = "was changed since setup; only what setup added goes";
    } else {
      continue;  // gone by itself, and it was changed before that: nothing of ours is left
    }
    if (change.before != change.after) changes.push_back(std::move(change));
  }
  return changes;
}

Result<Ok> Applier::inherit_file(const Applier& other, const RecordedFile& given, Heritage& heritage) const {
  auto now = read_if_there(given.path);
  if (!now) return std::move(now).error();
  RecordedFile* mine = find_file(heritage.next.files, given.path);
  const bool is_older = !mine || comes_first(given, *mine);
  RecordedFile merged = is_older ? given : *mine;
  if (is_older && !given.copy.empty()) {
    auto copy = other.copy_of(given);
    if (!copy) return std::move(copy).error();
    merged.copy = free_copy_name(given.path, heritage.copying.stale);
    heritage.copying.stale.push_back(merged.copy);
    heritage.copies.emplace_back(merged.copy, std::move(**copy));
  }
  const RecordedFile* undone = find_file(other.record_.run, given.path);  // written by the undo of the other
  merged.after = digest_text(*now);
  const bool is_known = merged.after == given.after || (mine && merged.after == mine->after) ||
                        (undone && merged.after == undone->after);
  merged.exact = given.exact && (!mine || (mine->exact && is_chain(given, *mine))) && is_known;
  if (is_older && mine && !mine->copy.empty()) heritage.next.stale.push_back(mine->copy);
  if (mine)
    *mine = std::move(merged);
  else
    heritage.next.files.push_back(std::move(merged));
  for (const auto& folder : other.record_.folders)
    if (given.path.starts_with(folder + "/") && !is_in(heritage.next.folders, folder))
      heritage.next.folders.push_back(folder);
  return Ok{};
}

Result<Ok> Applier::inherit(const Applier& other, const std::vector<std::string>& paths) {
  Heritage heritage{record_, record_, {}};
  for (const auto& path : paths)
    if (const RecordedFile* given = find_file(other.record_.files, path))
      if (auto done = inherit_file(other, *given, heritage); !done) return done;
  at_step_();
  record_ = std::move(heritage.copying);
  auto done = save_record(folder_, record_);
  for (const auto& [name, text] : heritage.copies)
    if (done) done = save_copy(name, text);
  at_step_();
  if (done) done = save_record(folder_, heritage.next);
  if (done) record_ = std::move(heritage.next);
  tidy();
  return done;
}

Result<Ok> Applier::forget() {
  Record gone;
  gone.folders = record_.folders;
  for (const auto* list : {&record_.files, &record_.run})
    for (const auto& file : *list)
      if (!file.copy.empty()) gone.stale.push_back(file.copy);
  at_step_();
  if (auto saved = save_record(folder_, gone); !saved) return saved;
  record_ = std::move(gone);
  tidy();
  return Ok{};
}

}  // namespace layerd::daemon::setup
