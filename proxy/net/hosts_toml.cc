#include "proxy/net/hosts_toml.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr int kMostDepth = 8;

// A value: text (of strings, numbers and truth values), or a list. Inline tables are read over.
struct Value {
  enum class Kind { text, word, list, table };
  Kind kind = Kind::word;
  std::string text;
  std::vector<Value> items;
};

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

class TomlReader {
 public:
  explicit TomlReader(std::string_view text) : text_(text) {}

  Result<HostsToml> read() {
    while (skip_blank(true)) {
      const bool fine = peek() == '[' ? read_header() : read_key();
      if (!fine) return std::move(*error_);
    }
    return std::move(out_);
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool fail(std::string why) {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    if (!error_) error_ = Error{Errc::config, fmt::format("line {}: {}", line, why)};
    return false;
  }

  // Over spaces and comments, and line ends if those do not count. False at the end of the text.
  bool skip_blank(bool over_lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && over_lines)) {
        ++at_;
      } else {
        break;
      }
    }
    return at_ < text_.size();
  }

  bool end_of_line() {
    skip_blank(false);
    if (at_ == text_.size() || peek() == '\n') return true;
    return fail("something stands behind the value");
  }

  std::optional<std::string> quoted() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n') {
      char c = text_[at_++];
      if (c == '\\' && quote == '"') {
        const char next = peek();
        if (next != '"' && next != '\\') {
          fail("an escape other than \\\" and \\\\ is not understood");
          return std::nullopt;
        }
        c = next;
        ++at_;
      }
      out += c;
    }
    if (peek() != quote) {
      fail("a string does not end");
      return std::nullopt;
    }
    ++at_;
    return out;
  }

  // a."b.c".d
  std::optional<std::vector<std::string>> dotted() {
    std::vector<std::string> parts;
    for (;;) {
      skip_blank(false);
      std::string part;
      if (peek() == '"' || peek() == '\'') {
        auto text = quoted();
        if (!text) return std::nullopt;
        part = std::move(*text);
      } else {
        while (is_bare(peek())) part += text_[at_++];
        if (part.empty()) {
          fail("a name was expected");
          return std::nullopt;
        }
      }
      parts.push_back(std::move(part));
      skip_blank(false);
      if (peek() != '.') return parts;
      ++at_;
    }
  }

  bool read_header() {
    ++at_;
    auto parts = dotted();
    if (!parts) return false;
    if (peek() != ']') return fail("a ] was expected");
    ++at_;
    section_ = std::move(*parts);
    if (section_.size() == 2 && section_[0] == "host") host_of(section_[1]);
    return end_of_line();
  }

  HostsTomlTls& host_of(const std::string& url) {
    for (auto& [name, tls] : out_.hosts) {
      if (name == url) return tls;
    }
    return out_.hosts.emplace_back(url, HostsTomlTls{}).second;
  }

  bool read_key() {
    auto parts = dotted();
    if (!parts) return false;
    if (peek() != '=') return fail("a = was expected");
    ++at_;
    Value value;
    if (!read_value(value, 0) || !end_of_line()) return false;
    std::vector<std::string> path = section_;
    path.insert(path.end(), parts->begin(), parts->end());
    if (path.size() == 1 && path[0] == "server") return take_server(value);
    if (path.size() == 1) return take(out_.top, path[0], value);
    if (path.size() == 3 && path[0] == "host") return take(host_of(path[1]), path[2], value);
    return true;
  }

  bool read_value(Value& out, int depth) {
    skip_blank(false);
    const char c = peek();
    if (c == '"' || c == '\'') {
      auto text = quoted();
      if (!text) return false;
      out.kind = Value::Kind::text;
      out.text = std::move(*text);
      return true;
    }
    if (c == '[' || c == '{') return depth < kMostDepth ? read_items(out, depth) : fail("too deep");
    while (is_bare(peek()) || peek() == '.' || peek() == '+' || peek() == ':') out.text += text_[at_++];
    return out.text.empty() ? fail("a value was expected") : true;
  }

  bool read_items(Value& out, int depth) {
    const bool is_table = text_[at_++] == '{';
    out.kind = is_table ? Value::Kind::table : Value::Kind::list;
    const char end = is_table ? '}' : ']';
    for (;;) {
      if (!skip_blank(true)) return fail("a list does not end");
      if (peek() == end) break;
      if (is_table) {
        if (!dotted()) return false;
        if (peek() != '=') return fail("a = was expected");
        ++at_;
      }
      out.items.emplace_back();
      if (!read_value(out.items.back(), depth + 1)) return false;
      if (!skip_blank(true)) return fail("a list does not end");
      if (peek() == ',')
        ++at_;
      else if (peek() != end)
        return fail("a comma was expected");
    }
    ++at_;
    return true;
  }

  bool take_server(const Value& value) {
    if (value.kind != Value::Kind::text) return fail("server: a string was expected");
    out_.server = value.text;
    return true;
  }

  bool take(HostsTomlTls& tls, const std::string& key, const Value& value) {
    if (key == "ca") return take_texts(value, tls.ca) || fail("ca: a file or a list of files was expected");
    if (key == "client") return take_client(value, tls);
    if (key != "skip_verify") return true;
    if (value.kind != Value::Kind::word || (value.text != "true" && value.text != "false"))
      return fail("skip_verify: true or false was expected");
    tls.skip_verify = value.text == "true";
    return true;
  }

  static bool take_texts(const Value& value, std::vector<std::string>& out) {
    if (value.kind == Value::Kind::text) {
      out.push_back(value.text);
      return true;
    }
    if (value.kind != Value::Kind::list) return false;
    for (const Value& item : value.items) {
      if (item.kind != Value::Kind::text) return false;
      out.push_back(item.text);
    }
    return true;
  }

  // "cert", ["cert", …] or [["cert", "key"], …].
  bool take_client(const Value& value, HostsTomlTls& tls) {
    constexpr const char* kWrong = "client: a file, a list of files or of [certificate, key] was expected";
    if (value.kind == Value::Kind::text) {
      tls.client.emplace_back(value.text, "");
      return true;
    }
    if (value.kind != Value::Kind::list) return fail(kWrong);
    for (const Value& item : value.items) {
      std::vector<std::string> pair;
      if (!take_texts(item, pair) || pair.empty() || pair.size() > 2) return fail(kWrong);
      tls.client.emplace_back(pair[0], pair.size() == 2 ? pair[1] : "");
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> section_;
  HostsToml out_;
  std::optional<Error> error_;
};

}  // namespace

Result<HostsToml> parse_hosts_toml(std::string_view text) {
  if (text.size() > kMostHostsToml)
    return Error{Errc::config, fmt::format("it is longer than {} bytes", kMostHostsToml)};
  return TomlReader(text).read();
}

}  // namespace layerd::net
