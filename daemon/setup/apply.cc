#include "daemon/setup/apply.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/setup/files.h"
#include "runtime/digest.h"

namespace layerd::daemon::setup {
namespace {

std::string digest_text(const std::optional<std::string>& text) {
  return text ? digest_of(DigestAlgorithm::sha256, {text->data(), text->size()}).str() : std::string();
}

std::string leaf_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

RecordedFile* find(std::vector<RecordedFile>& files, const std::string& path) {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const RecordedFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

}  // namespace

Applier::Applier(std::string folder, std::function<void()> at_step)
    : folder_(std::move(folder)), at_step_(std::move(at_step)) {}

Applier::~Applier() {
  if (lock_ >= 0) ::close(lock_);
}

Result<Ok> Applier::open(bool may_make) {
  if (struct stat info{}; !may_make && ::stat(folder_.c_str(), &info) != 0 && errno == ENOENT) return Ok{};
  if (auto made = make_folders_for(folder_ + "/x", 0700); !made) return std::move(made).error();
  const std::string lock = folder_ + "/lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0)
    return errno_error("cannot open " + lock, errno, errno == EACCES ? Errc::denied : Errc::local_io);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0)
    return {Errc::overloaded, "another layerd setup runs for this runtime; wait for it to end"};
  auto record = load_record(folder_);
  if (!record) return std::move(record).error();
  record_ = std::move(*record);
  return Ok{};
}

Result<std::string> Applier::save_copy(const std::string& path, const std::string& text) {
  for (unsigned number = 1;; ++number) {
    const std::string name = fmt::format("{}-{}", number, leaf_of(path)), full = folder_ + "/copies/" + name;
    struct stat info {};
    if (::lstat(full.c_str(), &info) == 0) continue;
    if (auto made = make_folders_for(full, 0700); !made) return std::move(made).error();
    at_step_();
    if (auto saved = write_whole(full, text, 0600, std::nullopt); !saved) return std::move(saved).error();
    return name;
  }
}

Result<Ok> Applier::begin(const std::vector<FileChange>& changes) {
  std::vector<RecordedFile> run;
  for (const auto& change : changes) {
    auto now = read_if_there(change.path);
    if (!now) return std::move(now).error();
    if (*now != change.before)
      return {Errc::config,
              fmt::format("{} was changed while setup looked at it; run setup again", change.path)};
    RecordedFile file;
    file.path = change.path;
    file.before = digest_text(change.before);
    file.after = digest_text(change.after);
    struct stat info {};
    if (change.before && ::stat(change.path.c_str(), &info) == 0) {
      file.mode = info.st_mode & 07777u;
      file.uid = info.st_uid;
      file.gid = info.st_gid;
      auto copy = save_copy(change.path, *change.before);
      if (!copy) return std::move(copy).error();
      file.copy = std::move(*copy);
    }
    for (auto& folder : missing_folders(change.path))
      if (std::find(record_.folders.begin(), record_.folders.end(), folder) == record_.folders.end())
        record_.folders.push_back(std::move(folder));
    run.push_back(std::move(file));
  }
  record_.run = std::move(run);
  at_step_();
  return save_record(folder_, record_);
}

Result<Ok> Applier::write(const FileChange& change) {
  at_step_();
  if (!change.after) return remove_whole(change.path);
  if (auto made = make_folders_for(change.path, change.folder_mode); !made) return std::move(made).error();
  at_step_();
  return write_whole(change.path, *change.after, change.mode, change.owner);
}

Result<Ok> Applier::commit(std::string copied) {
  Record done = record_;
  done.run.clear();
  done.copied = std::move(copied);
  for (auto& file : record_.run) {
    RecordedFile* known = find(done.files, file.path);
    if (!known) {
      done.files.push_back(file);
      continue;
    }
    known->exact = known->exact && known->after == file.before;
    known->after = file.after;
  }
  at_step_();
  if (auto saved = save_record(folder_, done); !saved) return saved;
  record_ = std::move(done);
  return Ok{};
}

Result<Ok> Applier::put_back(const RecordedFile& file) {
  auto now = read_if_there(file.path);
  if (!now) return std::move(now).error();
  const std::string digest = digest_text(*now);
  if (digest == file.before) return Ok{};
  if (digest != file.after)
    return {
        Errc::config,
        fmt::format("{} was changed by somebody else meanwhile and stays as it is; as it was: {}/copies/{}",
                    file.path, folder_, file.copy)};
  at_step_();
  if (file.before.empty()) return remove_whole(file.path);
  auto copy = read_if_there(folder_ + "/copies/" + file.copy);
  if (!copy) return std::move(copy).error();
  if (digest_text(*copy) != file.before)
    return {Errc::local_io, fmt::format("{}/copies/{}, the copy of {}, is missing or was changed", folder_,
                                        file.copy, file.path)};
  return write_whole(file.path, **copy, file.mode, std::pair<uid_t, gid_t>(file.uid, file.gid));
}

Result<Ok> Applier::roll_back() {
  Result<Ok> first = Ok{};
  for (auto file = record_.run.rbegin(); file != record_.run.rend(); ++file)
    if (auto back = put_back(*file); !back && first) first = std::move(back);
  if (record_.files.empty()) remove_folders();
  record_.run.clear();
  at_step_();
  if (auto saved = save_record(folder_, record_); !saved && first) first = std::move(saved);
  return first;
}

// A folder that holds something by now stays.
void Applier::remove_folders() {
  for (auto folder = record_.folders.rbegin(); folder != record_.folders.rend(); ++folder)
    ::rmdir(folder->c_str());
  record_.folders.clear();
}

Result<std::vector<FileChange>> Applier::undo_changes(const Inverse& inverse) const {
  std::vector<FileChange> changes;
  for (const auto& file : record_.files) {
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
      if (!file.before.empty()) {
        auto copy = read_if_there(folder_ + "/copies/" + file.copy);
        if (!copy) return std::move(copy).error();
        if (digest_text(*copy) != file.before)
          return {
              Errc::local_io,
              fmt::format("{}/copies/{}, the copy of {}, is missing or was changed; take layerd out of it "
                          "by hand",
                          folder_, file.copy, file.path)};
        change.after = std::move(*copy);
      }
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

Result<Ok> Applier::forget() {
  remove_folders();
  std::vector<std::string> copies;
  for (const auto* list : {&record_.files, &record_.run})
    for (const auto& file : *list)
      if (!file.copy.empty()) copies.push_back(folder_ + "/copies/" + file.copy);
  record_ = Record{};
  at_step_();
  if (auto saved = save_record(folder_, record_); !saved) return saved;
  for (const auto& copy : copies)
    if (auto gone = remove_whole(copy); !gone) return gone;
  ::rmdir((folder_ + "/copies").c_str());
  return Ok{};
}

}  // namespace layerd::daemon::setup
