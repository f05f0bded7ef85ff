#include "daemon/setup/apply.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/setup/files.h"
#include "runtime/digest.h"

namespace layerd::daemon::setup {
namespace {

constexpr std::size_t kMostLeaf = 200;  // of a copy's name: a number comes in front

std::string leaf_of(const std::string& path) { return path.substr(path.rfind('/') + 1).substr(0, kMostLeaf); }

bool is_in(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

std::string digest_text(const std::optional<std::string>& text) {
  return text ? digest_of(DigestAlgorithm::sha256, {text->data(), text->size()}).str() : std::string();
}

void remove_folders(std::vector<std::string> folders) {
  std::sort(folders.rbegin(), folders.rend());  // what lies below comes first
  for (const auto& folder : folders) ::rmdir(folder.c_str());
}

Applier::Applier(std::string folder, std::function<void()> at_step)
    : folder_(std::move(folder)), at_step_(std::move(at_step)) {}

Result<Ok> Applier::open(bool may_write) {
  auto record = load_record(folder_);
  if (!record) return std::move(record).error();
  record_ = std::move(*record);
  if (!may_write) return Ok{};
  ::unlink((folder_ + "/record.json.new").c_str());
  tidy();
  return Ok{};
}

std::string Applier::free_copy_name(const std::string& path, const std::vector<std::string>& taken) const {
  for (unsigned number = 1;; ++number) {
    std::string name = fmt::format("{}-{}", number, leaf_of(path));
    struct stat info {};
    if (!is_in(taken, name) && ::lstat((folder_ + "/copies/" + name).c_str(), &info) != 0) return name;
  }
}

Result<Ok> Applier::save_copy(const std::string& name, const std::string& text) {
  const std::string full = folder_ + "/copies/" + name;
  if (auto made = make_folders_for(full, 0700); !made) return std::move(made).error();
  at_step_();
  return write_new(full, text, 0600);
}

Result<RecordedFile> Applier::look_at(const FileChange& change) const {
  auto now = read_if_there(change.path);
  if (!now) return std::move(now).error();
  if (*now != change.before)
    return {Errc::config,
            fmt::format("{} was changed while setup looked at it; run setup again", change.path)};
  RecordedFile file;
  file.path = change.path;
  file.before = digest_text(change.before);
  file.after = digest_text(change.after);
  file.temporary = temporary_for(change.path);
  struct stat info {};
  if (change.before && ::stat(change.path.c_str(), &info) == 0) {
    file.mode = info.st_mode & 07777u;
    file.uid = info.st_uid;
    file.gid = info.st_gid;
  }
  return file;
}

// The copies are named as stale before they are made: killed in between, the next setup removes them.
Result<Ok> Applier::begin(const std::vector<FileChange>& changes) {
  Record begun = record_, copying = record_;
  for (const auto& change : changes) {
    auto file = look_at(change);
    if (!file) return std::move(file).error();
    if (change.before) {
      file->copy = free_copy_name(change.path, copying.stale);
      copying.stale.push_back(file->copy);
    }
    for (auto& folder : missing_folders(change.path))
      if (!is_in(begun.folders, folder) && !is_in(begun.run_folders, folder))
        begun.run_folders.push_back(std::move(folder));
    begun.run.push_back(std::move(*file));
  }
  at_step_();
  record_ = std::move(copying);
  auto done = save_record(folder_, record_);
  for (std::size_t i = 0; done && i < changes.size(); ++i)
    if (changes[i].before) done = save_copy(begun.run[i].copy, *changes[i].before);
  at_step_();
  if (done) done = save_record(folder_, begun);
  if (done)
    record_ = std::move(begun);
  else
    tidy();
  return done;
}

Result<Ok> Applier::write(const FileChange& change) {
  at_step_();
  // Setup may have waited for a pull since it looked at the file.
  const auto is_unchanged = [&]() -> Result<Ok> {
    at_step_();
    auto now = read_if_there(change.path);
    if (!now) return std::move(now).error();
    if (*now == change.before) return Ok{};
    return {Errc::local_io,
            fmt::format("{} was changed by somebody else while setup was at work, and stays as they left it; "
                        "run setup again",
                        change.path)};
  };
  if (!change.after) {
    if (auto good = is_unchanged(); !good) return good;
    return remove_whole(change.path);
  }
  if (auto made = make_folders_for(change.path, change.folder_mode); !made) return std::move(made).error();
  at_step_();
  const RecordedFile* file = find_file(record_.run, change.path);
  return write_whole(
      change.path, *change.after,
      {change.mode, change.owner, file ? file->temporary : temporary_for(change.path), is_unchanged});
}

Result<Ok> Applier::commit(std::string copied, const std::vector<std::string>& uses) {
  Record done = record_;
  done.run.clear();
  done.copied = std::move(copied);
  done.uses = uses;
  done.folders.insert(done.folders.end(), done.run_folders.begin(), done.run_folders.end());
  done.run_folders.clear();
  for (auto& file : record_.run) {
    file.temporary.clear();
    RecordedFile* known = find_file(done.files, file.path);
    if (!known) {
      done.files.push_back(file);
      continue;
    }
    known->exact = known->exact && known->after == file.before;
    known->after = file.after;
    if (!file.copy.empty())
      done.stale.push_back(file.copy);  // the copy of the first run is the one that counts
  }
  at_step_();
  if (auto saved = save_record(folder_, done); !saved) return saved;
  record_ = std::move(done);
  tidy();
  return Ok{};
}

// What fails here is done by the next setup: the record on the disk still names what is left.
void Applier::tidy() {
  const bool has_folders = record_.is_over() && !record_.folders.empty();
  if (record_.stale.empty() && !has_folders) return;
  for (const auto& name : record_.stale) {
    at_step_();
    ::unlink((folder_ + "/copies/" + name).c_str());
  }
  ::rmdir((folder_ + "/copies").c_str());
  record_.stale.clear();
  if (has_folders) {
    at_step_();
    remove_folders(record_.folders);
    record_.folders.clear();
  }
  at_step_();
  static_cast<void>(save_record(folder_, record_));
}

}  // namespace layerd::daemon::setup
