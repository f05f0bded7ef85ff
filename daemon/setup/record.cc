#include "daemon/setup/record.h"

#include <fmt/core.h>

#include "daemon/setup/files.h"
#include "runtime/json.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kName = "/record.json";

Json file_json(const RecordedFile& file) {
  return {{"path", file.path}, {"copy", file.copy},     {"mode", file.mode},   {"uid", file.uid},
          {"gid", file.gid},   {"before", file.before}, {"after", file.after}, {"exact", file.exact}};
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
    const Json* exact = json_find(row, "exact");
    file.exact = exact && exact->is_boolean() && exact->get<bool>();
    if (!file.path.empty() && file.copy.find('/') == std::string::npos) files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

Result<Record> load_record(const std::string& folder) {
  auto text = read_if_there(folder + kName);
  if (!text) return std::move(text).error();
  if (!*text) return Record{};
  auto root = parse_json(**text, {});
  if (!root || json_int(*root, "version") != 1)
    return {Errc::config, fmt::format("{}{} is damaged or of another version; the copies beside it are the "
                                      "files as they were. Put them "
                                      "back by hand and remove that folder",
                                      folder, kName)};
  Record record;
  record.files = files_of(*root, "files");
  record.run = files_of(*root, "run");
  record.copied = json_string(*root, "copied");
  const Json* folders = json_find(*root, "folders");
  for (const auto& row : folders && folders->is_array() ? *folders : Json::array())
    if (row.is_string()) record.folders.push_back(row.get<std::string>());
  return record;
}

Result<Ok> save_record(const std::string& folder, const Record& record) {
  if (record.empty()) return remove_whole(folder + kName);
  Json root{{"version", 1}, {"copied", record.copied}, {"folders", record.folders}};
  root["files"] = Json::array();
  root["run"] = Json::array();
  for (const auto& file : record.files) root["files"].push_back(file_json(file));
  for (const auto& file : record.run) root["run"].push_back(file_json(file));
  return write_whole(folder + kName, dump_json(root, 1) + "\n", 0600, std::nullopt);
}

}  // namespace layerd::daemon::setup
