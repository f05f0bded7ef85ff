// The configuration: file in, Settings out, with everything there is to say about it. Used by
// `serve` at start and at reload, by `config` and `config --check`. Blocks: files are read.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_yaml.h"
#include "daemon/settings.h"
#include "proxy/net/file_stamp.h"
#include "runtime/result.h"

namespace layerd::daemon {

inline constexpr std::string_view kDefaultConfigPath = "/etc/layerd/config.yaml";

// The text a configuration was made from: what the last good configuration keeps.
struct ConfigSources {
  std::string config_path;  // empty: no file, the built-in defaults
  std::string config_text;
  std::string registries_path;  // empty: none
  std::string registries_text;
};

// The value of a variable of this process, or null.
const char* process_environment(const char* name);

struct LoadOptions {
  // The user named the file: it must be there. Else a missing file means the built-in defaults.
  bool must_exist = true;
  // false: files the configuration names (CAs, keys, passwords) that cannot be read are warnings.
  bool check_files = true;
  // This is the daemon: what cannot be opened here is lost to it. Else another user may be looking.
  bool is_daemon = false;
  // HTTPS_PROXY and the like, where the file names no proxy; null: not looked at.
  const char* (*environment)(const char* name) = &process_environment;
};

struct LoadedConfig {
  SettingsPtr settings;           // null if there are errors
  std::vector<Problem> warnings;  // in the order of the files and lines
  std::vector<Problem> errors;    // all of them, not only the first
  ConfigSources sources;
  std::vector<std::string> files;  // every file that went into it
  // The configuration file, registries_file and proxy.password_file, as far as they were looked for, each as
  // it was before it was read: who finds another stamp loads again. Also when there are errors.
  std::vector<net::FileStamp> stamps;
  std::vector<std::string> secret_files;  // of the first two, those that hold secrets themselves
  bool ok() const { return errors.empty(); }
};

LoadedConfig load_config(const std::string& path, LoadOptions options = {});

// The same from texts. `read` gives the content of registries_file and of a kubeconfig; where it stands in
// place of the text, of the configuration as well.
using ReadText = std::function<Result<std::string>(const std::string& path)>;
LoadedConfig load_config(const std::string& path, const ReadText& read, LoadOptions options);
LoadedConfig parse_config(std::string path, std::string text, const ReadText& read, LoadOptions options = {});

}  // namespace layerd::daemon
