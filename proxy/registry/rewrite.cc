#include "proxy/registry/rewrite.h"

#include <fmt/core.h>
#include <re2/re2.h>

#include <algorithm>
#include <optional>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

constexpr std::size_t kMostRules = 64;
constexpr std::size_t kMostBytes = 1024;

// A replacement cut into literal text and group references.
struct Piece {
  std::string text;  // literal, or the name of the group
  bool is_group = false;
  bool braced = false;
};

// Go's rules: "$$" is a dollar; "$name" takes the longest run of letters, digits and '_'; "${name}";
// a '$' that begins none of these is itself.
std::vector<Piece> parse_replacement(std::string_view text) {
  std::vector<Piece> pieces;
  const auto literal = [&](std::string_view more) {
    if (pieces.empty() || pieces.back().is_group) pieces.push_back({});
    pieces.back().text += more;
  };
  const auto is_word = [](char c) { return is_alnum(c) || c == '_'; };
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      literal(text.substr(i++, 1));
      continue;
    }
    if (text.substr(i, 2) == "$$") {
      literal("$");
      i += 2;
      continue;
    }
    const bool braced = i + 1 < text.size() && text[i + 1] == '{';
    const auto begin = i + (braced ? 2 : 1);
    auto end = begin;
    while (end < text.size() && is_word(text[end])) ++end;
    if (end == begin || (braced && (end == text.size() || text[end] != '}'))) {
      literal("$");
      ++i;
      continue;
    }
    pieces.push_back({std::string(text.substr(begin, end - begin)), true, braced});
    i = end + (braced ? 1 : 0);
  }
  return pieces;
}

RE2::Options rewrite_options() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  return options;
}

}  // namespace

struct Rewrites::Rule {
  Rule(const std::string& expression, std::string_view replacement)
      : re(expression, rewrite_options()), pieces(parse_replacement(replacement)) {}

  // Group of that name or number; -1: there is none, which stands for nothing.
  int group(const std::string& name) const {
    if (const auto number = parse_digits(name)) {
      const bool there = *number <= static_cast<std::uint64_t>(re.NumberOfCapturingGroups());
      return there ? static_cast<int>(*number) : -1;
    }
    const auto& named = re.NamedCapturingGroups();
    const auto found = named.find(name);
    return found == named.end() ? -1 : found->second;
  }

  void expand(const std::vector<re2::StringPiece>& groups, std::string& out) const {
    for (const Piece& piece : pieces) {
      if (!piece.is_group) {
        out += piece.text;
        continue;
      }
      if (const int index = group(piece.text); index >= 0) {
        const auto& found = groups[static_cast<std::size_t>(index)];
        out.append(found.data(), found.size());
      }
    }
  }

  // Every match from left to right; an empty match right behind another match does not count.
  std::string replace_all(std::string_view text) const {
    std::string out;
    const re2::StringPiece subject(text.data(), text.size());
    std::vector<re2::StringPiece> groups(static_cast<std::size_t>(re.NumberOfCapturingGroups()) + 1);
    std::size_t copied = 0, search = 0;
    std::optional<std::size_t> last_end;
    while (search <= text.size() && out.size() <= kMostBytes) {
      if (!re.Match(subject, search, text.size(), RE2::UNANCHORED, groups.data(),
                    static_cast<int>(groups.size())))
        break;
      const auto begin = static_cast<std::size_t>(groups[0].data() - text.data());
      const auto end = begin + groups[0].size();
      out.append(text.substr(copied, begin - copied));
      if (end > begin || last_end != begin) expand(groups, out);
      copied = end;
      last_end = end;
      search = end > begin ? end : end + 1;
    }
    out.append(text.substr(copied));
    return out;
  }

  RE2 re;
  std::vector<Piece> pieces;
};

Result<Rewrites> Rewrites::compile(const std::vector<std::pair<std::string, std::string>>& rules) {
  const auto bad = [](std::string message) {
    return Error{Errc::config, std::move(message), 0, 0, "rewrite_invalid", {}};
  };
  if (rules.size() > kMostRules)
    return bad(fmt::format("{} rewrites, at most {} are possible", rules.size(), kMostRules));
  Rewrites compiled;
  for (const auto& [expression, replacement] : rules) {
    if (expression.size() > kMostBytes || replacement.size() > kMostBytes)
      return bad("the rewrite \"" + printable(expression, 60) + "\" is longer than 1 KiB");
    auto rule = std::make_shared<const Rule>(expression, replacement);
    if (!rule->re.ok())
      return bad("the rewrite \"" + printable(expression, 80) +
                 "\" is no regular expression: " + printable(rule->re.error(), 120));
    compiled.rules_.push_back(std::move(rule));
  }
  return compiled;
}

std::string Rewrites::apply(std::string_view repository, std::string* by) const {
  for (const auto& rule : rules_) {
    std::string changed = rule->replace_all(repository);
    if (changed == repository) continue;
    if (changed.size() > kMostBytes) changed.resize(kMostBytes);
    if (by) *by = rule->re.pattern();
    return changed;
  }
  return std::string(repository);
}

std::string doubtful_replacement(std::string_view expression, std::string_view replacement) {
  for (const Piece& piece : parse_replacement(replacement)) {
    if (!piece.is_group || piece.braced || !is_digit(piece.text.front())) continue;
    const auto digits = piece.text.find_first_not_of("0123456789");
    if (digits == std::string::npos) continue;
    return fmt::format(
        "in the rewrite \"{}\" the replacement \"${}\" means the group \"{}\", which is empty; write "
        "\"${{{}}}{}\"",
        printable(expression, 60), piece.text, piece.text, piece.text.substr(0, digits),
        piece.text.substr(digits));
  }
  return {};
}

}  // namespace layerd::registry
