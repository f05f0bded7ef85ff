#include "daemon/setup/toml.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

constexpr int kMostDepth = 32;

// Ends the parse; never leaves this file.
struct Wrong {
  std::size_t at;
  std::string message;
};

bool is_bare(char c) { return registry::is_alnum(c) || c == '_' || c == '-'; }

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) return byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f));
  if (code < 0x10000)
    return byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
  byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 0x3f)), byte(0x80 | (code >> 6 & 0x3f)),
      byte(0x80 | (code & 0x3f));
}

class TomlParser {
 public:
  explicit TomlParser(std::string_view text) : text_(text) {}

  TomlValue parse() {
    root_.line = 1;
    if (text_.starts_with("\xef\xbb\xbf")) wrong("the file begins with a byte order mark; take it away");
    for (skip_lines(); !at_end(); skip_lines()) {
      if (peek() == '[')
        header();
      else
        entry(*open_, 0);
      end_line();
      (open_ == &root_ ? root_.end : open_->end) = pos_;
    }
    return std::move(root_);
  }

 private:
  bool at_end() const { return pos_ >= text_.size(); }
  char peek(std::size_t ahead = 0) const { return pos_ + ahead < text_.size() ? text_[pos_ + ahead] : '\0'; }
  [[noreturn]] void wrong(std::string message) const { throw Wrong{pos_, std::move(message)}; }
  bool take(std::string_view word) {
    if (!text_.substr(pos_).starts_with(word)) return false;
    pos_ += word.size();
    return true;
  }
  void expect(char c, const char* where) {
    if (peek() != c || at_end()) wrong(fmt::format("'{}' was expected {}", c, where));
    ++pos_;
  }
  int line_of(std::size_t at) const {
    return 1 +
           static_cast<int>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  }

  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++pos_;
  }
  void skip_comment() {
    if (peek() == '#')
      while (!at_end() && peek() != '\n') ++pos_;
  }
  void skip_lines() {
    for (;;) {
      skip_blanks();
      skip_comment();
      if (peek() == '\r' && peek(1) == '\n') ++pos_;
      if (at_end() || peek() != '\n') return;
      ++pos_;
    }
  }
  void end_line() {
    skip_blanks();
    skip_comment();
    if (peek() == '\r') ++pos_;
    if (at_end()) return;
    if (peek() != '\n') wrong("the line was expected to end here");
    ++pos_;
  }

  std::string key_part() {
    if (peek() == '"' || peek() == '\'') return string_value(false);
    const std::size_t begin = pos_;
    while (!at_end() && is_bare(peek())) ++pos_;
    if (begin == pos_) wrong("a key was expected");
    return std::string(text_.substr(begin, pos_ - begin));
  }
  std::vector<std::string> key() {
    std::vector<std::string> parts{key_part()};
    for (skip_blanks(); peek() == '.'; skip_blanks()) {
      ++pos_;
      skip_blanks();
      parts.push_back(key_part());
      if (parts.size() > kMostDepth) wrong("nested too deep");
    }
    return parts;
  }

  // The table at `parts` below `from`, made where it is missing; the last one of a list of tables.
  TomlValue& table_at(TomlValue& from, const std::vector<std::string>& parts, std::size_t count) {
    TomlValue* table = &from;
    for (std::size_t i = 0; i < count; ++i) {
      auto* found = const_cast<TomlValue*>(table->find(parts[i]));
      if (!found) {
        TomlEntry made;
        made.key = parts[i];
        made.begin = pos_;
        made.value.line = line_of(pos_);
        table->entries.push_back(std::move(made));
        found = &table->entries.back().value;
      }
      if (found->kind == TomlValue::Kind::list && !found->is_inline && !found->items.empty())
        found = &found->items.back();
      if (found->kind != TomlValue::Kind::table || found->is_inline)
        wrong(fmt::format("\"{}\" is no table that can be added to", printable(parts[i], 60)));
      table = found;
    }
    return *table;
  }

  void header() {
    const std::size_t begin =
        text_.rfind('\n', pos_) == std::string_view::npos ? 0 : text_.rfind('\n', pos_) + 1;
    const bool is_list = take("[[");
    if (!is_list) ++pos_;
    skip_blanks();
    const auto parts = key();
    skip_blanks();
    expect(']', "behind the name of the table");
    if (is_list) expect(']', "behind the name of the table");
    TomlValue& table = is_list ? new_item(parts) : new_table(parts);
    table.has_header = true;
    table.begin = begin;
    table.line = line_of(pos_);
    const std::size_t back = pos_;
    end_line();
    table.body = pos_;
    pos_ = back;
    open_ = &table;
  }
  TomlValue& new_table(const std::vector<std::string>& parts) {
    TomlValue& parent = table_at(root_, parts, parts.size() - 1);
    TomlValue& table = table_at(parent, {parts.back()}, 1);
    if (table.has_header) wrong(fmt::format("the table [{}] is there twice", printable(parts.back(), 60)));
    return table;
  }
  TomlValue& new_item(const std::vector<std::string>& parts) {
    TomlValue& parent = table_at(root_, parts, parts.size() - 1);
    auto* list = const_cast<TomlValue*>(parent.find(parts.back()));
    if (!list) {
      TomlEntry made;
      made.key = parts.back();
      made.begin = pos_;
      made.value.kind = TomlValue::Kind::list;
      parent.entries.push_back(std::move(made));
      list = &parent.entries.back().value;
    }
    if (list->kind != TomlValue::Kind::list || list->is_inline)
      wrong(fmt::format("\"{}\" is no list of tables", printable(parts.back(), 60)));
    list->items.emplace_back();
    return list->items.back();
  }

  void entry(TomlValue& table, int depth) {
    const std::size_t begin = pos_;
    const auto parts = key();
    skip_blanks();
    expect('=', "behind the key");
    skip_blanks();
    TomlEntry made;
    made.begin = begin;
    made.key = parts.back();
    made.value = value(depth);
    TomlValue& parent = table_at(table, parts, parts.size() - 1);
    if (parent.find(made.key)) {
      pos_ = begin;
      wrong(fmt::format("the key \"{}\" is there twice", printable(made.key, 60)));
    }
    parent.entries.push_back(std::move(made));
  }

  TomlValue value(int depth) {
    if (depth > kMostDepth) wrong("nested too deep");
    TomlValue out;
    out.begin = pos_;
    out.line = line_of(pos_);
    if (peek() == '"' || peek() == '\'') {
      out.kind = TomlValue::Kind::text;
      out.text = string_value(true);
    } else if (peek() == '[') {
      list(out, depth);
    } else if (peek() == '{') {
      inline_table(out, depth);
    } else {
      plain(out);
    }
    out.end = pos_;
    return out;
  }
  void list(TomlValue& out, int depth) {
    out.kind = TomlValue::Kind::list;
    out.is_inline = true;
    ++pos_;
    for (skip_lines(); peek() != ']'; skip_lines()) {
      if (at_end()) wrong("the list has no end: ']' was expected");
      out.items.push_back(value(depth + 1));
      skip_lines();
      if (peek() == ',')
        ++pos_;
      else if (peek() != ']' && !at_end())
        wrong("',' or ']' was expected in the list");
    }
    ++pos_;
  }
  void inline_table(TomlValue& out, int depth) {
    ++pos_;
    for (skip_blanks(); peek() != '}'; skip_blanks()) {
      if (at_end()) wrong("the table has no end: '}' was expected");
      entry(out, depth + 1);
      skip_blanks();
      if (peek() == ',')
        ++pos_;
      else if (peek() != '}')
        wrong("',' or '}' was expected in the table");
    }
    ++pos_;
    out.is_inline = true;
  }
  void plain(TomlValue& out) {
    const std::size_t begin = pos_;
    while (!at_end() && (is_bare(peek()) || peek() == '+' || peek() == '.' || peek() == ':')) ++pos_;
    out.text = text_.substr(begin, pos_ - begin);
    if (out.text == "true" || out.text == "false") {
      out.kind = TomlValue::Kind::truth;
      out.truth = out.text == "true";
      return;
    }
    out.kind = TomlValue::Kind::other;
    const char first = out.text.empty() ? '\0' : out.text[0];
    if (!registry::is_digit(first) && first != '+' && first != '-' && out.text != "inf" &&
        out.text != "nan") {
      pos_ = begin;
      wrong("a value was expected; a text needs quotes");
    }
  }

  std::string string_value(bool may_be_long) {
    for (const char* quote : {"\"\"\"", "'''"})
      if (may_be_long && take(quote)) return long_string(quote);
    const char quote = peek();
    ++pos_;
    std::string out;
    while (peek() != quote) {
      if (at_end() || peek() == '\n') wrong("the text has no end: a quote was expected");
      if (quote == '"' && peek() == '\\')
        escape(out);
      else
        out += text_[pos_++];
    }
    ++pos_;
    return out;
  }
  std::string long_string(std::string_view quote) {
    if (peek() == '\r') ++pos_;
    if (peek() == '\n') ++pos_;
    std::string out;
    while (!take(quote)) {
      if (at_end()) wrong("the text has no end: three quotes were expected");
      if (quote[0] == '"' && peek() == '\\')
        escape(out);
      else
        out += text_[pos_++];
    }
    while (peek() == quote[0] && out.size() < kMostTomlBytes)
      out += text_[pos_++];  // """a""""" ends in quotes
    return out;
  }
  void escape(std::string& out) {
    ++pos_;
    const char c = peek();
    ++pos_;
    static constexpr std::string_view kFrom = "btnfr\"\\", kTo = "\b\t\n\f\r\"\\";
    if (const auto at = kFrom.find(c); at != std::string_view::npos) {
      out += kTo[at];
    } else if (c == 'u' || c == 'U') {
      append_utf8(out, hex(c == 'u' ? 4 : 8));
    } else if (c == '\n' || c == ' ' || c == '\t' || c == '\r') {
      while (!at_end() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++pos_;
    } else {
      --pos_;
      wrong("there is no such escape in TOML; a backslash is written \\\\");
    }
  }
  std::uint32_t hex(int digits) {
    std::uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
      const char c = registry::to_lower(peek());
      if (!registry::is_hex(c)) wrong("hex digits were expected");
      code = code * 16 + static_cast<std::uint32_t>(registry::is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return code;
  }

  std::string_view text_;
  std::size_t pos_ = 0;
  TomlValue root_;
  TomlValue* open_ = &root_;
};

}  // namespace

const TomlValue* TomlValue::find(std::string_view key) const {
  for (const auto& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

const TomlValue* TomlValue::find(std::initializer_list<std::string_view> path) const {
  const TomlValue* value = this;
  for (auto key : path)
    if (value) value = value->find(key);
  return value;
}

std::string TomlValue::text_at(std::string_view key) const {
  const TomlValue* found = find(key);
  return found && found->kind == Kind::text ? found->text : std::string();
}

bool TomlValue::true_at(std::string_view key) const {
  const TomlValue* found = find(key);
  return found && found->kind == Kind::truth && found->truth;
}

std::vector<std::string> TomlValue::texts() const {
  std::vector<std::string> out;
  if (kind == Kind::text) out.push_back(text);
  for (const auto& item : items)
    if (item.kind == Kind::text) out.push_back(item.text);
  return out;
}

Result<TomlValue> parse_toml(const std::string& file, std::string_view text) {
  if (text.size() > kMostTomlBytes)
    return {Errc::config,
            fmt::format("{}: the file has {} bytes, {} are possible", file, text.size(), kMostTomlBytes)};
  try {
    return TomlParser(text).parse();
  } catch (const Wrong& wrong) {
    const auto before = text.substr(0, std::min(wrong.at, text.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column =
        before.size() - (before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1) + 1;
    return {Errc::config, fmt::format("{}:{}:{}: {}", file, line, column, wrong.message)};
  }
}

std::string toml_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

}  // namespace layerd::daemon::setup
