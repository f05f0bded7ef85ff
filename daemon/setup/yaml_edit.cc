#include "daemon/setup/yaml_edit.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace layerd::daemon::setup {
namespace {

std::size_t offset_of(const std::string& text, int line, int column) {
  std::size_t at = 0;
  for (int i = 1; i < line && at != std::string::npos; ++i) at = text.find('\n', at) + 1;
  return std::min(text.size(), at + static_cast<std::size_t>(std::max(0, column - 1)));
}

std::size_t line_begin(const std::string& text, std::size_t at) {
  const auto found = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
  return found == std::string::npos ? 0 : found + 1;
}

std::size_t next_line(const std::string& text, std::size_t at) {
  const auto found = text.find('\n', at);
  return found == std::string::npos ? text.size() : found + 1;
}

// A text of the tree in which only meaning counts, to compare two of them.
std::string meaning(const YamlNode& node) {
  std::string out;
  if (node.kind == YamlNode::Kind::list) {
    for (const auto& item : node.items) out += meaning(item) + ",";
    return "[" + out + "]";
  }
  if (!node.is_map()) return node.kind == YamlNode::Kind::null ? "~" : yaml_quoted(node.scalar);
  for (const auto& [key, value] : node.entries) out += yaml_quoted(key.scalar) + ":" + meaning(value) + ",";
  return "{" + out + "}";
}

// Words of k3s's schema stand without quotes, names of registries with them.
std::string key_text(const std::string& key) {
  const bool plain =
      !key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  return plain ? key : yaml_quoted(key);
}

// The rest of a path as YAML: block lines at `indent`, or in braces for a place that is so.
std::string block_of(const std::vector<std::string>& keys, std::size_t from, const std::string& item,
                     std::size_t indent) {
  std::string out;
  for (std::size_t i = from; i < keys.size(); ++i, indent += 2)
    out += std::string(indent, ' ') + key_text(keys[i]) + ":\n";
  return out + std::string(indent, ' ') + "- " + yaml_quoted(item) + "\n";
}

std::string flow_of(const std::vector<std::string>& keys, std::size_t from, const std::string& item) {
  if (from == keys.size()) return "[" + yaml_quoted(item) + "]";
  const std::string below = flow_of(keys, from + 1, item);
  return fmt::format("{}: {}", key_text(keys[from]), from + 1 == keys.size() ? below : "{" + below + "}");
}

// What of a path is there.
struct Place {
  const YamlNode* node = nullptr;  // the deepest that is there
  const YamlNode* key = nullptr;   // its key; null for the root
  std::size_t depth = 0;           // keys of the path that lead to it
};

Place find_place(const YamlNode& root, const std::vector<std::string>& path) {
  Place place{&root, nullptr, 0};
  while (place.depth < path.size() && place.node->is_map()) {
    const auto& entries = place.node->entries;
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const YamlEntry& entry) {
      return entry.key.scalar == path[place.depth];
    });
    if (found == entries.end()) break;
    place = {&found->value, &found->key, place.depth + 1};
  }
  return place;
}

class Edit {
 public:
  Edit(const std::string& text, const std::vector<std::string>& path, const std::string& item, bool at_end)
      : text_(text), path_(path), item_(item), at_end_(at_end) {}

  // Nothing when the place has a form that cannot be edited.
  std::optional<std::string> run(const Place& place) {
    const YamlNode& node = *place.node;
    if (node.kind == YamlNode::Kind::null) return below_key(place);
    const std::size_t at = offset_of(text_, node.line, node.column);
    const char first = at < text_.size() ? text_[at] : '\0';
    if (node.is_map() && place.depth < path_.size())
      return first == '{' ? into_flow(at, "{", flow_of(path_, place.depth, item_), node.entries.empty())
                          : before_entries(node, at, place.depth);
    if (node.kind != YamlNode::Kind::list || place.depth != path_.size()) return std::nullopt;
    return first == '[' ? into_flow(at, "[", yaml_quoted(item_), node.items.empty()) : into_block(node, at);
  }

 private:
  std::string put(std::size_t at, std::string what) const {
    if (at > 0 && text_[at - 1] != '\n' && what.ends_with('\n') && line_begin(text_, at) != at)
      what.insert(0, "\n");
    return text_.substr(0, at) + what + text_.substr(at);
  }

  // `key:` with nothing behind it, or an empty file.
  std::optional<std::string> below_key(const Place& place) const {
    if (!place.key) return put(text_.size(), block_of(path_, 0, item_, 0));
    const std::size_t at = offset_of(text_, place.key->line, place.key->column);
    const std::size_t begin = line_begin(text_, at), end = next_line(text_, at);
    if (text_.substr(begin, at - begin).find_first_not_of(' ') != std::string::npos) return std::nullopt;
    return put(end, block_of(path_, place.depth, item_, at - begin + 2));
  }

  std::optional<std::string> before_entries(const YamlNode& node, std::size_t at, std::size_t depth) const {
    if (node.entries.empty()) return std::nullopt;
    const std::size_t begin = line_begin(text_, at);
    if (text_.substr(begin, at - begin).find_first_not_of(' ') != std::string::npos) return std::nullopt;
    return put(begin, block_of(path_, depth, item_, at - begin));
  }

  std::optional<std::string> into_flow(std::size_t at, const char* opening, const std::string& what,
                                       bool empty) const {
    if (text_[at] != *opening) return std::nullopt;
    if (!at_end_) return text_.substr(0, at + 1) + what + (empty ? "" : ", ") + text_.substr(at + 1);
    const auto close = text_.find(*opening == '[' ? ']' : '}', at);
    if (close == std::string::npos) return std::nullopt;
    return text_.substr(0, close) + (empty ? "" : ", ") + what + text_.substr(close);
  }

  std::optional<std::string> into_block(const YamlNode& node, std::size_t at) const {
    if (node.items.empty() || text_[at] != '-') return std::nullopt;
    const std::size_t begin = line_begin(text_, at);
    const std::string line = std::string(at - begin, ' ') + "- " + yaml_quoted(item_) + "\n";
    if (text_.substr(begin, at - begin).find_first_not_of(' ') != std::string::npos) return std::nullopt;
    if (!at_end_) return put(begin, line);
    const auto& last = node.items.back();
    return put(next_line(text_, offset_of(text_, last.line, last.column)), line);
  }

  const std::string& text_;
  const std::vector<std::string>& path_;
  const std::string& item_;
  const bool at_end_;
};

// Takes the item out again, and what was made for it.
void undo_edit(YamlNode& root, const std::vector<std::string>& path, std::size_t had, bool had_list,
               bool at_end) {
  std::vector<YamlNode*> nodes{&root};
  for (const auto& key : path) {
    auto* next = const_cast<YamlNode*>(nodes.back()->find(key));
    if (!next) return;
    nodes.push_back(next);
  }
  auto& items = nodes.back()->items;
  if (!items.empty()) items.erase(at_end ? items.end() - 1 : items.begin());
  if (had_list) return;
  if (had == path.size()) {
    *nodes.back() = YamlNode{};
    return;
  }
  auto& entries = nodes[had]->entries;
  std::erase_if(entries, [&](const YamlEntry& entry) { return entry.key.scalar == path[had]; });
  if (entries.empty()) *nodes[had] = YamlNode{};
}

bool holds_item(const YamlNode& root, const std::vector<std::string>& path, const std::string& item,
                bool at_end) {
  const Place place = find_place(root, path);
  const auto& items = place.node->items;
  return place.depth == path.size() && !items.empty() &&
         (at_end ? items.back() : items.front()).scalar == item;
}

std::string empty_as_null(std::string text) { return text == "{}" || text == "[]" ? "~" : text; }

Result<std::string> with_item(const std::string& file, const std::string& text,
                              const std::vector<std::string>& path, const std::string& item, bool at_end) {
  auto root = read_yaml(file, text);
  if (!root) return std::move(root).error();
  const Place place = find_place(*root, path);
  const bool had_list = place.depth == path.size() && place.node->kind == YamlNode::Kind::list;
  std::string where;
  for (const auto& key : path) where += (where.empty() ? "" : ".") + (where.empty() ? key : yaml_quoted(key));
  const Error refused{
      Errc::config,
      fmt::format("{}:{}: setup cannot add to this by itself, because of the way it is written; add {} to "
                  "{} there and run setup again",
                  file, place.key ? place.key->line : 1, yaml_quoted(item), where)};
  auto edited = Edit(text, path, item, at_end).run(place);
  if (!edited) return refused;
  auto check = read_yaml(file, *edited);
  if (!check || !holds_item(*check, path, item, at_end)) return refused;
  undo_edit(*check, path, place.depth, had_list, at_end);
  const bool was_empty = place.node->entries.empty() && place.node->items.empty();
  if (!was_empty && meaning(*check) != meaning(*root)) return refused;
  return std::move(*edited);
}

}  // namespace

Result<YamlNode> read_yaml(const std::string& file, const std::string& text) {
  std::vector<Problem> errors;
  YamlNode root = parse_yaml(file, text, errors);
  if (!errors.empty()) return {Errc::config, errors.front().str()};
  if (root.kind != YamlNode::Kind::null && !root.is_map())
    return {Errc::config, fmt::format("{}:{}:{}: keys with values were expected (key: value)", file,
                                      root.line, root.column)};
  return root;
}

namespace {

// The lines of one entry of `section` that holds nothing but the item; or of the item alone. Nothing if
// the form cannot be edited.
std::optional<std::string> cut_one(const std::string& text, const YamlEntry& entry, const std::string& list,
                                   std::size_t index) {
  const YamlNode& node = *entry.value.find(list);
  const YamlNode& item = node.items[index];
  const std::size_t at = offset_of(text, item.line, item.column), begin = line_begin(text, at);
  const bool is_block = text[offset_of(text, node.line, node.column)] == '-';
  if (is_block && node.items.size() == 1 && entry.value.entries.size() == 1 && entry.key.line < item.line)
    return text.substr(0, line_begin(text, offset_of(text, entry.key.line, entry.key.column))) +
           text.substr(next_line(text, at));
  if (is_block) return text.substr(0, begin) + text.substr(next_line(text, at));
  std::size_t end = at + item.scalar.size() + (item.quoted ? 2 : 0);
  if (node.items.size() > index + 1) {
    end = text.find(',', end);
    if (end == std::string::npos) return std::nullopt;
    end = text.find_first_not_of(' ', end + 1);
  }
  return text.substr(0, at) + text.substr(end);
}

}  // namespace

Result<std::string> without_item(const std::string& file, const std::string& text, const std::string& section,
                                 const std::string& list, const std::string& item) {
  std::string out = text;
  for (int rounds = 0; rounds < 10000; ++rounds) {
    auto root = read_yaml(file, out);
    if (!root) return std::move(root).error();
    const YamlNode* map = root->find(section);
    std::optional<std::string> cut;
    int line = 0;
    for (const auto& entry : map ? map->entries : std::vector<YamlEntry>{}) {
      const YamlNode* node = entry.value.find(list);
      for (std::size_t i = 0; node && i < node->items.size() && line == 0; ++i)
        if (node->items[i].scalar == item) {
          line = node->items[i].line;
          cut = cut_one(out, entry, list, i);
        }
    }
    if (line == 0) return out;
    if (!cut || cut->size() >= out.size())
      return {Errc::config,
              fmt::format("{}:{}: take {} out of this by hand, setup cannot", file, line, item)};
    out = std::move(*cut);
  }
  return {Errc::config, file + ": too many entries"};
}

Result<std::string> with_first_item(const std::string& file, const std::string& text,
                                    const std::vector<std::string>& path, const std::string& item) {
  return with_item(file, text, path, item, false);
}

Result<std::string> with_last_item(const std::string& file, const std::string& text,
                                   const std::vector<std::string>& path, const std::string& item) {
  return with_item(file, text, path, item, true);
}

Result<std::string> with_top_key(const std::string& file, const std::string& text, const std::string& key,
                                 const std::string& value) {
  auto root = read_yaml(file, text);
  if (!root) return std::move(root).error();
  if (root->find(key)) return {Errc::config, fmt::format("{}: {} is there already", file, key)};
  const std::string line = key + ": " + value + "\n";
  std::string out;
  if (root->entries.empty()) {
    out = text + (text.empty() || text.ends_with('\n') ? "" : "\n") + line;
  } else {
    const auto& first = root->entries.front().key;
    const std::size_t at = offset_of(text, first.line, first.column);
    if (at != line_begin(text, at))
      return {
          Errc::config,
          fmt::format("{}:{}: setup cannot add to this by itself; write \"{}: {}\" there and run setup again",
                      file, first.line, key, value)};
    out = text.substr(0, at) + line + text.substr(at);
  }
  auto check = read_yaml(file, out);
  if (!check || !check->find(key))
    return {Errc::config,
            fmt::format("{}: setup cannot add \"{}: {}\" by itself; write it there and run setup again", file,
                        key, value)};
  std::erase_if(check->entries, [&](const YamlEntry& entry) { return entry.key.scalar == key; });
  if (empty_as_null(meaning(*check)) != empty_as_null(meaning(*root)))
    return {Errc::config,
            fmt::format("{}: setup cannot add \"{}: {}\" by itself; write it there and run setup again", file,
                        key, value)};
  return out;
}

namespace {

// From the line of the entry's key up to what belongs to the next one: its comments stay with it.
std::string without_entry(const std::string& text, const YamlNode& root, std::size_t index) {
  const YamlNode& key = root.entries[index].key;
  const std::size_t begin = line_begin(text, offset_of(text, key.line, key.column));
  std::size_t end = text.size();
  if (index + 1 < root.entries.size()) {
    const YamlNode& next = root.entries[index + 1].key;
    end = line_begin(text, offset_of(text, next.line, next.column));
  }
  while (end > begin) {
    const std::size_t before = line_begin(text, end - 1);
    const auto first = text.find_first_not_of(" \r\n", before);
    const bool is_blank = first == std::string::npos || first >= end;
    if (before <= begin || !(is_blank || text[before] == '#')) break;
    end = before;
  }
  return text.substr(0, begin) + text.substr(end);
}

}  // namespace

Result<std::string> with_top_block(const std::string& file, const std::string& text, const std::string& key,
                                   const std::string& lines) {
  auto root = read_yaml(file, text);
  if (!root) return std::move(root).error();
  const Error refused{
      Errc::config,
      fmt::format("{}: this cannot be edited because of the way it is written; write this there "
                  "yourself:\n{}:\n{}",
                  file, key, lines)};
  std::string out = text;
  for (std::size_t i = 0; i < root->entries.size(); ++i)
    if (root->entries[i].key.scalar == key) out = without_entry(text, *root, i);
  if (!out.empty() && !out.ends_with('\n')) out += '\n';
  out += key + ":\n" + lines;
  auto check = read_yaml(file, out);
  auto block = read_yaml(file, key + ":\n" + lines);
  if (!check || !block || !check->find(key) || meaning(*check->find(key)) != meaning(*block->find(key)))
    return refused;
  const auto is_key = [&](const YamlEntry& entry) { return entry.key.scalar == key; };
  std::erase_if(check->entries, is_key);
  std::erase_if(root->entries, is_key);
  if (empty_as_null(meaning(*check)) != empty_as_null(meaning(*root))) return refused;
  return out;
}

std::string without_top_line(const std::string& text, const std::string& line) {
  for (auto at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) {
    const std::size_t end = at + line.size();
    const bool is_line = (at == 0 || text[at - 1] == '\n') && (end == text.size() || text[end] == '\n');
    if (is_line) return text.substr(0, at) + text.substr(std::min(text.size(), end + 1));
  }
  return text;
}

}  // namespace layerd::daemon::setup
