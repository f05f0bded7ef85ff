#include "daemon/setup/record.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/files.h"
#include "runtime/json.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kName = "/record.json";

Json file_json(const RecordedFile& file) {
  return {{"path", file.path},  {"copy", file.copy},     {"mode", file.mode},   {"uid", file.uid},
          {"gid", file.gid},    {"before", file.before}, {"after", file.after}, {"temporary", file.temporary},
          {"exact", file.exact}};
}

std::vector<RecordedFile> files_of(const Json& root, const char* key) {
  std::vector<RecordedFile> files;
  const Json* list = json_find(root, key);
  for (const auto& row : list && list->is_array() ? *list : Json::array()) {
    RecordedFile file;
    file.path = json_string(row, "path");
    file.copy = json_string(row, "copy");
    file.mode = static_cast<unsigned>(json_int(row, "mode", 0600)) & 07777u;
    file.uid = static_cast<unsigned>(json_int(row, "uid"));
    file.gid = static_cast<unsigned>(json_int(row, "gid"));
    file.before = json_string(row, "before");
    file.after = json_string(row, "after");
    file.temporary = json_string(row, "temporary");
    const Json* exact = json_find(row, "exact");
    file.exact = exact && exact->is_boolean() && exact->get<bool>();
    if (!file.path.empty() && file.copy.find('/') == std::string::npos) files.push_back(std::move(file));
  }
  return files;
}

std::vector<std::string> texts_of(const Json& root, const char* key) {
  std::vector<std::string> texts;
  const Json* list = json_find(root, key);
  for (const auto& row : list && list->is_array() ? *list : Json::array())
    if (row.is_string()) texts.push_back(row.get<std::string>());
  return texts;
}

}  // namespace

const RecordedFile* find_file(const std::vector<RecordedFile>& files, const std::string& path) {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const RecordedFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

RecordedFile* find_file(std::vector<RecordedFile>& files, const std::string& path) {
  return const_cast<RecordedFile*>(find_file(std::as_const(files), path));
}

bool Record::goes_by(const std::string& path) const {
  return find_file(files, path) || std::find(uses.begin(), uses.end(), path) != uses.end();
}

Result<Record> load_record(const std::string& folder) {
  auto text = read_if_there(folder + kName);
  if (!text) return std::move(text).error();
  if (!*text) return Record{};
  auto root = parse_json(**text, {});
  if (!root || json_int(*root, "version") != 1)
    return {Errc::config, fmt::format("{}{} is damaged or of another version; the copies beside it are the "
                                      "files as they were. Put them back by hand and remove that folder",
                                      folder, kName)};
  Record record;
  record.files = files_of(*root, "files");
  record.run = files_of(*root, "run");
  record.copied = json_string(*root, "copied");
  record.folders = texts_of(*root, "folders");
  record.run_folders = texts_of(*root, "run_folders");
  record.uses = texts_of(*root, "uses");
  record.stale = texts_of(*root, "stale");
  std::erase_if(record.stale, [](const std::string& name) { return name.find('/') != std::string::npos; });
  return record;
}

Result<Ok> save_record(const std::string& folder, const Record& record) {
  const std::string temporary = folder + kName + ".new";  // the folder is setup's alone: the name is free
  if (record.empty()) {
    if (auto gone = remove_whole(temporary); !gone) return gone;
    return remove_whole(folder + kName);
  }
  if (auto made = make_folders_for(temporary, 0700); !made) return std::move(made).error();
  Json root{{"version", 1},
            {"copied", record.copied},
            {"folders", record.folders},
            {"run_folders", record.run_folders},
            {"uses", record.uses},
            {"stale", record.stale}};
  root["files"] = Json::array();
  root["run"] = Json::array();
  for (const auto& file : record.files) root["files"].push_back(file_json(file));
  for (const auto& file : record.run) root["run"].push_back(file_json(file));
  Writing how;
  how.mode = 0600;
  how.temporary = temporary;
  return write_whole(folder + kName, dump_json(root, 1) + "\n", how);
}

}  // namespace layerd::daemon::setup
