// TOML 1.0 as containerd's config.toml, hosts.toml and containers' registries.conf need it: read into
// a tree that knows where each value stands in the text, so that a value can be changed and everything
// around it stays, comments as well. Numbers and dates are kept as written. Pure, any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::daemon::setup {

struct TomlEntry;

struct TomlValue {
  enum class Kind : std::uint8_t { text, truth, other, list, table };
  Kind kind = Kind::table;
  std::string text;  // of text, unescaped; of other (numbers, dates) as written
  bool truth = false;
  bool is_inline = false;  // a table in braces, or an array in brackets
  int line = 0;            // from 1
  // Of a value: its text, quotes included. Of a table with a header: from the header's line to the end
  // of its last line (tables below it are not in it). The root: to the first header.
  std::size_t begin = 0, end = 0;
  std::size_t body = 0;  // of a table with a header: where the line behind the header begins
  bool has_header = false;
  std::vector<TomlValue> items;    // of a list; tables written as [[…]] as well
  std::vector<TomlEntry> entries;  // of a table, in the order written

  const TomlValue* find(std::string_view key) const;
  const TomlValue* find(std::initializer_list<std::string_view> path) const;
  std::string text_at(std::string_view key) const;  // "" unless it is a text
  bool true_at(std::string_view key) const;
  std::vector<std::string> texts() const;  // of a list of texts, or of one text
};

struct TomlEntry {
  std::string key;
  std::size_t begin = 0;  // where the key stands
  TomlValue value;
};

inline constexpr std::size_t kMostTomlBytes = 1u << 20;

// Errors: config, "FILE:LINE:COLUMN: what is wrong".
Result<TomlValue> parse_toml(const std::string& file, std::string_view text);

// `text` as a TOML basic string.
std::string toml_quoted(std::string_view text);

}  // namespace layerd::daemon::setup
