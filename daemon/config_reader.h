// Reading a YAML tree by a table of keys: the machinery below settings_table and config_registries.
// One row per key says how it is called, what it takes and what it does; rows drive parsing, the
// printed configuration and docs/settings.md alike. Blocks only where it checks files.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_values.h"
#include "daemon/config_yaml.h"

namespace layerd::daemon {

// Collects what is to say about one file while it is read.
class ConfigReader {
 public:
  ConfigReader(std::string file, bool check_files, std::vector<Problem>& warnings,
               std::vector<Problem>& errors)
      : file_(std::move(file)), check_files_(check_files), warnings_(warnings), errors_(errors) {}

  void error(const YamlNode& at, std::string message);
  void warn(const YamlNode& at, std::string message);
  const std::string& file() const { return file_; }

  // Each answers nothing after it has reported what is wrong with `node`. `key` is for the message.
  std::optional<std::string> text(const YamlNode& node, std::string_view key);
  // A list of texts; with `one_is_enough` a single text as well.
  std::optional<std::vector<std::pair<std::string, const YamlNode*>>> texts(const YamlNode& node,
                                                                            std::string_view key,
                                                                            bool one_is_enough);
  // An absolute path.
  std::optional<std::string> path(const YamlNode& node, std::string_view key);
  // A file that must be readable; a secret one that others can read is a warning. Where files are
  // not to be checked (the last good configuration), an unreadable one is a warning only.
  std::optional<std::string> readable_file(const YamlNode& node, std::string_view key, bool secret);
  // A file whose loss is told by who knows what that costs; a secret one that others can read is a warning.
  std::optional<std::string> named_file(const YamlNode& node, std::string_view key, bool secret);
  // All of a secret file but the line breaks at its end; nothing if it cannot be read or holds nothing,
  // reported as above.
  std::optional<std::string> secret_of(const YamlNode& node, std::string_view key);
  // A value by one of the parsers of config_values.h.
  template <class Parse>
  auto value(const YamlNode& node, std::string_view key, Parse parse)
      -> std::optional<std::decay_t<decltype(*parse(""))>> {
    auto words = text(node, key);
    if (!words) return std::nullopt;
    auto parsed = parse(*words);
    if (parsed) return std::move(*parsed);
    error(node, fmt::format("{}: {}", key, parsed.error().message));
    return std::nullopt;
  }

  // An error about a file that the configuration names; a warning where files are not checked.
  void file_problem(const YamlNode& at, std::string message);

 private:
  void warn_of_readers(const YamlNode& at, std::string_view key, const std::string& path);

  std::string file_;
  bool check_files_;
  std::vector<Problem>& warnings_;
  std::vector<Problem>& errors_;
};

// A row of a table over the values T.
template <class T>
struct Key {
  const char* path;      // "cache.max_size"
  const char* type;      // with unit: "duration"
  const char* range;     // what values are possible
  bool reloadable;       // false: takes a restart
  const char* sentence;  // what it does
  void (*apply)(const YamlNode& node, std::string_view key, T& out, ConfigReader& reader);
  std::string (*show)(
      const T& value);  // as YAML, secrets masked; begins with '\n' for a block; empty: leave out
};

enum class UnknownKey : std::uint8_t {
  is_error,    // our own part of the configuration
  is_warning,  // what k3s shares and reads over
};

// "did you mean "x"?" or "possible here: a, b", for a key that is not among `valid`.
std::string suggestion(std::string_view wrong, const std::vector<std::string>& valid);

// The keys one level below `prefix` ("" or "cache.").
template <class T>
std::vector<std::string> keys_below(const std::vector<Key<T>>& keys, std::string_view prefix) {
  std::vector<std::string> below;
  for (const auto& key : keys) {
    const std::string_view path = key.path;
    if (!path.starts_with(prefix)) continue;
    std::string name(path.substr(prefix.size(), path.find('.', prefix.size()) - prefix.size()));
    if (std::find(below.begin(), below.end(), name) == below.end()) below.push_back(std::move(name));
  }
  return below;
}

// A key that is known but comes with a later version; answers the whole message or "".
using LaterKey = std::string (*)(std::string_view path);

// Reads the map `node` by `keys`. `where` stands before paths in messages: "mirrors.\"x\".".
// A key without a value keeps its default.
template <class T>
void read_map(const YamlNode& node, const std::vector<Key<T>>& keys, T& out, ConfigReader& reader,
              UnknownKey unknown, const std::string& where = "", LaterKey later = nullptr,
              const std::string& prefix = "") {
  if (node.kind == YamlNode::Kind::null) return;
  if (!node.is_map()) {
    std::string name = where + prefix;
    if (!name.empty()) name.pop_back();
    return reader.error(node, fmt::format("{}: keys with values were expected (key: value)",
                                          name.empty() ? "the file" : name));
  }
  const auto valid = keys_below(keys, prefix);
  for (const auto& [name, value] : node.entries) {
    const std::string path = prefix + name.scalar;
    const auto row =
        std::find_if(keys.begin(), keys.end(), [&](const Key<T>& key) { return path == key.path; });
    if (row != keys.end()) {
      if (value.kind != YamlNode::Kind::null) row->apply(value, where + path, out, reader);
      continue;
    }
    if (const std::string refused = later ? later(path) : std::string(); !refused.empty()) {
      reader.error(name, refused);
    } else if (std::find(valid.begin(), valid.end(), name.scalar) != valid.end()) {
      read_map(value, keys, out, reader, unknown, where, later, path + ".");
    } else if (unknown == UnknownKey::is_warning) {
      reader.warn(name, fmt::format("{}{}: k3s ignores this key and so does layerd; {}", where,
                                    printable(path, 80), suggestion(name.scalar, valid)));
    } else {
      reader.error(name, fmt::format("unknown key \"{}{}\"; {}", where, printable(path, 80),
                                     suggestion(name.scalar, valid)));
    }
  }
}

}  // namespace layerd::daemon
