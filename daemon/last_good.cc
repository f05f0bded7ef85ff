#include "daemon/last_good.h"

#include <cstdlib>

#include <cerrno>

#include "runtime/digest.h"
#include "runtime/file.h"
#include "runtime/guarded_file.h"
#include "runtime/json.h"

namespace layerd::daemon {

namespace {

constexpr int kVersion = 1;

std::string file_in(const std::string& folder) { return folder + "/last-good-config.json"; }

// Over everything that counts, so that a damaged file is not taken for a configuration.
std::string checksum_of(const ConfigSources& sources) {
  std::string all;
  for (const std::string* text :
       {&sources.config_path, &sources.config_text, &sources.registries_path, &sources.registries_text})
    all += std::to_string(text->size()) + ":" + *text;
  return digest_of(DigestAlgorithm::sha256, all).str();
}

Error unusable(const std::string& path, std::string_view why) {
  return {Errc::config,
          "the last good configuration " + path + " cannot be used: " + std::string(why),
          0,
          0,
          {},
          {}};
}

}  // namespace

Result<Ok> save_last_good(const std::string& state_folder, const ConfigSources& sources) {
  const Json document = {{"version", kVersion},
                         {"checksum", checksum_of(sources)},
                         {"config_path", sources.config_path},
                         {"config_text", sources.config_text},
                         {"registries_path", sources.registries_path},
                         {"registries_text", sources.registries_text}};
  return replace_file(file_in(state_folder), dump_json(document, 1), 0600);
}

Result<LoadedConfig> load_last_good(const std::string& state_folder) {
  const std::string path = file_in(state_folder);
  auto text = read_file(path, 16 * kMostConfigBytes);
  if (!text) {
    if (text.error().sys_errno == ENOENT)
      return Error{Errc::not_found, "there is no last good configuration in " + state_folder};
    return std::move(text).error();
  }
  const auto document = parse_json(*text, {16 * kMostConfigBytes, 4});
  if (!document) return unusable(path, document.error().message);
  if (json_int(*document, "version") != kVersion) return unusable(path, "another version of layerd wrote it");
  ConfigSources sources{json_string(*document, "config_path"), json_string(*document, "config_text"),
                        json_string(*document, "registries_path"), json_string(*document, "registries_text")};
  if (json_string(*document, "checksum") != checksum_of(sources))
    return unusable(path, "its checksum is wrong");
  const ReadText read = [&sources](const std::string& wanted) -> Result<std::string> {
    if (wanted == sources.registries_path) return sources.registries_text;
    return read_guarded(wanted, kMostConfigBytes);  // a kubeconfig: its secrets are not kept here
  };
  auto loaded = parse_config(sources.config_path, sources.config_text, read,
                             {.must_exist = false, .check_files = false});
  if (!loaded.ok()) return unusable(path, loaded.errors.front().str());
  return loaded;
}

namespace {

// A bad file most often still names its store, if need be in a line of its own that nobody can parse.
std::string cache_path_in(const std::string& config_path) {
  std::vector<Problem> ignored;
  const auto text = read_file(config_path, kMostConfigBytes);
  if (!text) return {};
  const YamlNode root = parse_yaml(config_path, *text, ignored);
  const YamlNode* cache = root.is_map() ? root.find("cache") : nullptr;
  const YamlNode* path = cache && cache->is_map() ? cache->find("path") : nullptr;
  if (path && path->kind == YamlNode::Kind::scalar && path->scalar.starts_with('/')) return path->scalar;
  for (std::size_t at = text->find("path:"); at != std::string::npos; at = text->find("path:", at + 1)) {
    const std::size_t from = text->find_first_not_of(" \t\"'", at + 5),
                      to = text->find_first_of(" \t\"',}\n", from);
    if (from != std::string::npos && (*text)[from] == '/')
      return text->substr(from, to == std::string::npos ? to : to - from);
  }
  return {};
}

std::string systemd_state_folder() {
  const char* state = std::getenv("STATE_DIRECTORY");
  return state ? std::string(state).substr(0, std::string_view(state).find(':')) : std::string();
}

}  // namespace

Result<Ok> save_last_good_everywhere(const std::string& cache_path, const ConfigSources& sources) {
  auto saved = save_last_good(cache_path, sources);
  const std::string folder = systemd_state_folder();
  if (!folder.empty() && folder != cache_path)
    if (auto also = save_last_good(folder, sources); !also && saved) return also;
  return saved;
}

Result<LoadedConfig> find_last_good(const std::string& config_path, bool path_given) {
  for (const auto& folder : {cache_path_in(config_path), systemd_state_folder(), Settings{}.cache_path}) {
    if (folder.empty()) continue;
    auto found = load_last_good(folder);
    if (!found || !found->ok()) continue;
    const std::string& made_from = found->sources.config_path;
    if (made_from == config_path || (made_from.empty() && !path_given)) return found;
  }
  return Error{Errc::not_found, "there is no last good configuration of " + config_path};
}

}  // namespace layerd::daemon
