#include "proxy/registry/pattern.h"

#include <re2/re2.h>

#include <algorithm>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::registry {

struct Pattern::Program {
  explicit Program(const std::string& expression) : re(expression, options()) {}
  static RE2::Options options() {
    RE2::Options wanted(RE2::Latin1);
    wanted.set_log_errors(false);
    wanted.set_never_nl(true);
    wanted.set_max_mem(1 << 20);
    return wanted;
  }
  RE2 re;
};

namespace {

constexpr std::size_t kMostPatternBytes = 512;
constexpr std::size_t kMostStars = 16;

bool is_pattern_char(char c) {
  return is_alnum(c) || (c != '\0' && std::string_view(".-_/:*[]").find(c) != std::string_view::npos);
}

// Writes the expression for one list of parts (labels or components) joined by `separator`. A part
// "**" swallows the separator beside it, so that it can stand for nothing.
void add_parts(std::string& out, std::string_view text, char separator, std::string_view part_class) {
  const std::string join = separator == '.' ? "\\." : "/";
  const std::string many = separator == '.' ? "[^/]" : ".";
  const auto parts = split(text, separator);
  bool need_join = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] == "**") {
      const bool last = i + 1 == parts.size();
      if (need_join)
        out += "(?:" + join + "(" + many + "+))?";
      else
        out += last ? "(" + many + "*)" : "(?:(" + many + "+)" + join + ")?";
      // Without anything before it the separator after it is part of the group above.
      need_join = need_join || last;
      continue;
    }
    if (need_join) out += join;
    need_join = true;
    for (std::size_t at = 0; at < parts[i].size(); ++at) {
      if (parts[i][at] == '*')
        out.append("(").append(part_class).append(parts[i] == "*" ? "+)" : "*)");
      else
        out += RE2::QuoteMeta(std::string(1, parts[i][at]));
    }
  }
}

// Where the port of a name's registry begins (at its colon); npos: there is none.
std::size_t port_of(std::string_view name) {
  const auto registry = name.substr(0, name.find('/'));
  const auto colon = registry.rfind(':'), close = registry.rfind(']');
  const bool is_port = colon != std::string_view::npos && (close == std::string_view::npos || colon > close);
  return is_port ? colon : std::string_view::npos;
}

constexpr std::string_view kHttpsPort = ":443";

bool has_https_port(std::string_view name) {
  const auto port = port_of(name);
  const auto end = std::min(name.find('/'), name.size());
  return port != std::string_view::npos && name.substr(port, end - port) == kHttpsPort;
}

std::string with_https_port(std::string_view name) {
  const auto end = std::min(name.find('/'), name.size());
  return std::string(name.substr(0, end)) + std::string(kHttpsPort) + std::string(name.substr(end));
}

// Registry[:port][/path[:tag]] as an expression.
std::string expression_of(std::string_view text) {
  if (text == "*" || text == "**") return "(.*)";
  std::string out;
  const auto slash = text.find('/');
  const auto registry = text.substr(0, slash);
  const bool is_address = registry.starts_with('[');
  const auto colon = registry.find(':', is_address ? std::min(registry.find(']'), registry.size()) : 0);
  if (is_address)
    out += RE2::QuoteMeta(std::string(registry.substr(0, colon)));
  else
    add_parts(out, registry.substr(0, colon), '.', "[^./:]");
  if (colon != std::string_view::npos) {
    out += ":";
    for (char c : registry.substr(colon + 1))
      out += c == '*' ? std::string("([0-9]+)") : RE2::QuoteMeta(std::string(1, c));
  }
  if (slash == std::string_view::npos) return out;
  auto path = text.substr(slash + 1);
  const auto tag = path.find(':');
  std::string rest;
  // "docker.io/**": the slash goes with the wildcard, so that the registry alone matches too.
  add_parts(rest, "/" + std::string(path.substr(0, tag)), '/', "[^/:]");
  out += rest;
  if (tag == std::string_view::npos) return out;
  out += ":";
  add_parts(out, path.substr(tag + 1), '/', "[^/]");
  return out;
}

}  // namespace

std::string without_https_port(std::string_view name) {
  if (!has_https_port(name)) return {};
  const auto port = port_of(name);
  return std::string(name.substr(0, port)) + std::string(name.substr(port + kHttpsPort.size()));
}

Pattern::Pattern(std::string text, std::shared_ptr<const Program> program)
    : text_(std::move(text)), program_(std::move(program)) {}

Result<Pattern> Pattern::compile(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Error{Errc::config,
                 "the pattern \"" + printable(text, 80) + "\" " + std::string(why),
                 0,
                 0,
                 "pattern_invalid",
                 {}};
  };
  if (text.empty()) return bad("is empty");
  if (text.size() > kMostPatternBytes) return bad("is longer than 512 bytes");
  if (!std::all_of(text.begin(), text.end(), is_pattern_char))
    return bad("holds a character that no name has");
  if (text.find("***") != std::string_view::npos) return bad("has more than two stars in a row");
  if (text.find("//") != std::string_view::npos || text.front() == '/' || text.back() == '/')
    return bad("has an empty path component");
  if (static_cast<std::size_t>(std::count(text.begin(), text.end(), '*')) > kMostStars)
    return bad("has more than 16 stars");
  for (std::size_t at = text.find("**"); at != std::string_view::npos; at = text.find("**", at + 2)) {
    // A dot separates labels, and is an ordinary character in a path.
    const auto edge = [&](std::size_t i) {
      return text[i] == '/' || text[i] == ':' || (text[i] == '.' && i < text.find('/'));
    };
    if ((at > 0 && !edge(at - 1)) || (at + 2 < text.size() && !edge(at + 2)))
      return bad("has ** beside other characters: it stands for whole labels or components");
  }
  if (text.front() == '[' && text.substr(0, text.find(']')).find('*') != std::string_view::npos)
    return bad("has a wildcard inside an address");
  const auto slash = text.find('/');
  if (const auto port = text.substr(0, slash).find(":**"); port != std::string_view::npos)
    return bad("has ** as a port: write * for any port");
  std::string folded = lower_case(text.substr(0, slash));
  if (slash != std::string_view::npos) folded += text.substr(slash);
  auto program = std::make_shared<const Program>(expression_of(folded));
  if (!program->re.ok()) return bad("cannot be compiled");
  return Pattern(std::string(text), std::move(program));
}

std::optional<std::vector<std::string>> Pattern::match(std::string_view subject) const {
  if (const auto plain = without_https_port(subject); !plain.empty())
    if (auto captures = match_as_written(plain)) return captures;
  if (auto captures = match_as_written(subject)) return captures;
  const bool is_other = has_https_port(text_) && port_of(subject) == std::string::npos;
  return is_other ? match_as_written(with_https_port(subject)) : std::nullopt;
}

std::optional<std::vector<std::string>> Pattern::match_as_written(std::string_view subject) const {
  if (subject.size() > 1024) return std::nullopt;
  const int groups = program_->re.NumberOfCapturingGroups() + 1;
  std::vector<re2::StringPiece> pieces(static_cast<std::size_t>(groups));
  const re2::StringPiece text(subject.data(), subject.size());
  if (!program_->re.Match(text, 0, subject.size(), RE2::ANCHOR_BOTH, pieces.data(), groups))
    return std::nullopt;
  std::vector<std::string> captures;
  for (std::size_t i = 1; i < pieces.size(); ++i)
    captures.emplace_back(pieces[i].data() ? std::string(pieces[i].data(), pieces[i].size()) : "");
  return captures;
}

bool Pattern::matches(std::string_view subject) const {
  if (matches_as_written(subject)) return true;
  if (const auto plain = without_https_port(subject); !plain.empty()) return matches_as_written(plain);
  const bool is_other = has_https_port(text_) && port_of(subject) == std::string::npos;
  return is_other && matches_as_written(with_https_port(subject));
}

bool Pattern::matches_as_written(std::string_view subject) const {
  if (subject.size() > 1024) return false;
  return program_->re.Match(re2::StringPiece(subject.data(), subject.size()), 0, subject.size(),
                            RE2::ANCHOR_BOTH, nullptr, 0);
}

}  // namespace layerd::registry
