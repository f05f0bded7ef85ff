#include "daemon/setup/diff.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "proxy/registry/text.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kMask = "****";
constexpr std::size_t kAround = 3;
constexpr std::size_t kMostCells = 4u << 20;  // of the table below; longer texts are shown as replaced whole

// A file's text must not steer the terminal that shows it.
std::string shown(std::string_view line) {
  std::string out(line);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    const bool ends_line = c == '\r' && i + 1 == out.size();
    if ((c < 0x20 && c != '\t' && !ends_line) || c == 0x7f) out[i] = '?';
  }
  return out;
}

std::vector<std::string> lines_of(const std::optional<std::string>& text) {
  std::vector<std::string> lines;
  if (!text || text->empty()) return lines;
  for (auto line : registry::split(*text, '\n')) lines.push_back(shown(line));
  if (lines.back().empty())
    lines.pop_back();
  else
    lines.back() += "\n\\ No newline at end of file";
  return lines;
}

struct Step {
  char kind;  // ' ', '-', '+'
  const std::string* line;
};

// The longest common subsequence of what is left between a common head and a common tail.
std::vector<Step> steps_of(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::size_t head = 0, tail = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  while (tail + head < a.size() && tail + head < b.size() && a[a.size() - 1 - tail] == b[b.size() - 1 - tail])
    ++tail;
  const std::size_t n = a.size() - head - tail, m = b.size() - head - tail;
  std::vector<Step> steps;
  for (std::size_t i = 0; i < head; ++i) steps.push_back({' ', &a[i]});
  const bool small = (n + 1) * (m + 1) <= kMostCells;
  std::vector<std::uint32_t> length(small ? (n + 1) * (m + 1) : 0, 0);
  const auto at = [&](std::size_t i, std::size_t j) -> std::uint32_t& { return length[i * (m + 1) + j]; };
  for (std::size_t i = small ? n : 0; i-- > 0;)
    for (std::size_t j = m; j-- > 0;)
      at(i, j) = a[head + i] == b[head + j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
  std::size_t i = 0, j = 0;
  while (i < n || j < m) {
    if (small && i < n && j < m && a[head + i] == b[head + j]) {
      steps.push_back({' ', &a[head + i]});
      ++i, ++j;
    } else if (i < n && (j == m || !small || at(i + 1, j) >= at(i, j + 1))) {
      steps.push_back({'-', &a[head + i++]});
    } else {
      steps.push_back({'+', &b[head + j++]});
    }
  }
  for (std::size_t k = a.size() - tail; k < a.size(); ++k) steps.push_back({' ', &a[k]});
  return steps;
}

std::string hunk(const std::vector<Step>& steps, std::size_t from, std::size_t to, std::size_t old_line,
                 std::size_t new_line) {
  std::size_t old_count = 0, new_count = 0;
  std::string body;
  for (std::size_t i = from; i < to; ++i) {
    old_count += steps[i].kind != '+';
    new_count += steps[i].kind != '-';
    body += steps[i].kind + *steps[i].line + "\n";
  }
  return fmt::format("@@ -{},{} +{},{} @@\n{}", old_count ? old_line : old_line - 1, old_count,
                     new_count ? new_line : new_line - 1, new_count, body);
}

std::size_t indent_at(const std::string& text, std::size_t line) {
  const std::size_t first = text.find_first_not_of(' ', line);
  return first == std::string::npos || text[first] == '\n' ? std::string::npos : first - line;
}

// A YAML block (`key: |`): every line that stands deeper than the key's, from the one behind `at`.
void mask_block(std::string& text, std::size_t at) {
  const std::size_t begin = text.rfind('\n', at) == std::string::npos ? 0 : text.rfind('\n', at) + 1;
  const std::size_t depth = indent_at(text, begin), from = text.find('\n', at);
  if (from == std::string::npos) return;
  std::size_t end = from + 1;
  while (end < text.size() && (indent_at(text, end) == std::string::npos || indent_at(text, end) > depth))
    end = std::min(text.size(),
                   text.find('\n', end) == std::string::npos ? text.size() : text.find('\n', end) + 1);
  if (end > from + 1) text.replace(from + 1, end - from - 1, std::string(depth + 2, ' ') + kMask + "\n");
}

// A TOML text in three quotes, over several lines.
bool mask_triple(std::string& text, std::size_t at) {
  const std::string quotes(3, text[at]);
  if (text.compare(at, 3, quotes) != 0) return false;
  const std::size_t end = text.find(quotes, at + 3);
  text.replace(at + 3, (end == std::string::npos ? text.size() : end) - at - 3, kMask);
  return true;
}

// Replaces the value that stands behind `at`: in quotes, or up to a comma, brace or line end.
void mask_value(std::string& text, std::size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  if (at >= text.size() || text[at] == '{' || text[at] == '[' || text[at] == '\n') return;
  if (text[at] == '|' || text[at] == '>') return mask_block(text, at);
  if ((text[at] == '"' || text[at] == '\'') && mask_triple(text, at)) return;
  const char quote = text[at] == '"' || text[at] == '\'' ? text[at] : '\0';
  std::size_t end = quote ? at + 1 : at;
  const std::string_view stops = ",}]\n#";
  for (; end < text.size() && text[end] != '\n'; ++end) {
    if (quote == '"' && text[end] == '\\')
      ++end;
    else if (quote ? text[end] == quote : stops.find(text[end]) != std::string_view::npos)
      break;
  }
  while (!quote && end > at && text[end - 1] == ' ') --end;
  end = std::min(end, text.size());
  const std::size_t from = quote ? at + 1 : at;
  text.replace(from, end - from, kMask);
}

void mask_keys(std::string& text) {
  static constexpr std::array<std::string_view, 8> kKeys{"password",      "auth",          "identity_token",
                                                         "identitytoken", "registrytoken", "token",
                                                         "secret",        "authorization"};
  for (auto key : kKeys) {
    const std::string lower = registry::lower_case(text);
    // From behind, so that what is found stays where it was.
    for (std::size_t at = lower.rfind(key); at != std::string::npos;
         at = at == 0 ? at : lower.rfind(key, at - 1)) {
      const bool begins =
          at == 0 || std::string_view(" \t\n\"'{,-").find(lower[at - 1]) != std::string_view::npos;
      std::size_t end = at + key.size();
      if (end < lower.size() && (lower[end] == '"' || lower[end] == '\'')) ++end;
      while (end < lower.size() && (lower[end] == ' ' || lower[end] == '\t')) ++end;
      if (begins && end < lower.size() && (lower[end] == ':' || lower[end] == '=')) mask_value(text, end + 1);
      if (at == 0) break;
    }
  }
}

// user:password@ of URLs.
void mask_users(std::string& text) {
  for (std::size_t at = text.find("://"); at != std::string::npos; at = text.find("://", at)) {
    at += 3;
    const auto end = text.find_first_of(" \t\n\"',}]", at);
    const auto sign = text.rfind('@', end);
    if (sign != std::string::npos && sign >= at) text.replace(at, sign - at, kMask);
  }
}

}  // namespace

std::string masked(std::string text, const std::vector<std::string>& secrets) {
  for (const auto& secret : secrets) {
    if (secret.size() < 3) continue;  // would stand everywhere; its key hides it
    for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 4))
      text.replace(at, secret.size(), kMask);
  }
  mask_keys(text);
  mask_users(text);
  return text;
}

std::string unified_diff(const FileChange& change, const std::vector<std::string>& secrets) {
  if (change.before == change.after) return {};
  constexpr std::string_view kKey = "PRIVATE KEY-----";
  for (const auto* text : {&change.before, &change.after}) {
    if (*text && (*text)->find(kKey) != std::string::npos)
      return fmt::format("--- {0}\n+++ {0}\n(a private key of {1} bytes is not shown)\n", change.path,
                         (*text)->size());
    if (*text && (*text)->find('\0') != std::string::npos)  // a key in binary form may be one
      return fmt::format("--- {0}\n+++ {0}\n({1} bytes that are no text are not shown)\n", change.path,
                         (*text)->size());
  }
  const auto mask = [&](const std::optional<std::string>& text) {
    return text ? std::optional<std::string>(masked(*text, secrets)) : std::nullopt;
  };
  const auto before = lines_of(mask(change.before)), after = lines_of(mask(change.after));
  const auto steps = steps_of(before, after);
  std::string out = fmt::format("--- {}\n+++ {}\n", change.before ? change.path : "/dev/null",
                                change.after ? change.path : "/dev/null");
  std::size_t old_line = 1, new_line = 1, i = 0;
  while (i < steps.size()) {
    std::size_t first = i;
    while (first < steps.size() && steps[first].kind == ' ') ++first;
    if (first == steps.size()) break;
    const std::size_t from = std::max(i, first > kAround ? first - kAround : 0);
    std::size_t to = first, quiet = 0;
    for (; to < steps.size() && quiet <= 2 * kAround; ++to) quiet = steps[to].kind == ' ' ? quiet + 1 : 0;
    if (quiet > kAround) to -= quiet - kAround;
    old_line += from - i, new_line += from - i;
    out += hunk(steps, from, to, old_line, new_line);
    for (std::size_t k = from; k < to; ++k)
      old_line += steps[k].kind != '+', new_line += steps[k].kind != '-';
    i = to;
  }
  return out;
}

}  // namespace layerd::daemon::setup
