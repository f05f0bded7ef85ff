// YAML text as a bounded tree with the place of every node. yaml-cpp by itself lets duplicate keys
// and merges (`<<`) pass; here they are found and refused. The only home of yaml-cpp, whose
// exceptions end in config_yaml.cc. Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace layerd::daemon {

// Something to say about a configuration file. `line` and `column` begin at 1; 0: the whole file.
struct Problem {
  std::string file;
  int line = 0;
  int column = 0;
  std::string message;
  std::string str() const;  // "/etc/layerd/config.yaml:3:5: …"
};

struct YamlEntry;

struct YamlNode {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;  // "true" in quotes is a text, not a truth value
  int line = 0, column = 0;
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map, in the order written; keys are scalars

  bool is_map() const { return kind == Kind::map; }
  const YamlNode* find(std::string_view key) const;
};

struct YamlEntry {
  YamlNode key, value;
};

inline constexpr std::size_t kMostConfigBytes = 1u << 20;
inline constexpr std::size_t kMostYamlNodes = 50000;  // with aliases written out
inline constexpr int kMostYamlDepth = 32;

// The first document of `text`; null for an empty one. Problems go to `errors`: syntax, duplicate
// keys, merges, keys that are no plain text, a second document, more than the bounds above.
YamlNode parse_yaml(const std::string& file, const std::string& text, std::vector<Problem>& errors);

// `text` as a YAML scalar that reads back as the same text.
std::string yaml_quoted(std::string_view text);

}  // namespace layerd::daemon
