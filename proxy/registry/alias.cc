#include "proxy/registry/alias.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

bool is_everything(std::string_view text) { return text == "*" || text == "**"; }

Error bad(std::string_view side, std::string_view text, std::string_view why) {
  return {
      Errc::config, fmt::format("{}: \"{}\" {}", side, printable(text, 80), why), 0, 0, "alias_invalid", {}};
}

// Where the wildcards of a pattern are: offset and length 1 ("*") or 2 ("**"). A lone star of either
// kind is any name at all.
struct Star {
  std::size_t at = 0, size = 0;
  bool is_many = false;
};
std::vector<Star> stars_of(std::string_view text) {
  if (is_everything(text)) return {{0, text.size(), true}};
  std::vector<Star> stars;
  for (std::size_t at = text.find('*'); at != std::string_view::npos;) {
    const bool is_many = text.substr(at, 2) == "**";
    stars.push_back({at, is_many ? 2u : 1u, is_many});
    at = text.find('*', at + stars.back().size);
  }
  return stars;
}

// The pattern with `value(star, n)` in place of its wildcards. A value of nothing takes the separator
// beside it along: "a.io/**/b" becomes "a.io/b".
template <class Value>
std::string filled(std::string_view text, Value value) {
  std::string out;
  std::size_t copied = 0, n = 0;
  const auto is_separator = [](char c) { return c == '/' || c == '.'; };
  for (const Star& star : stars_of(text)) {
    out += text.substr(copied, star.at - copied);
    copied = star.at + star.size;
    const std::string word = value(star, n++);
    out += word;
    if (!word.empty() || !star.is_many) continue;
    if (!out.empty() && is_separator(out.back()))
      out.pop_back();
    else if (out.empty() && copied < text.size() && is_separator(text[copied]))
      ++copied;
  }
  out += text.substr(copied);
  return out;
}

std::string_view registry_of(std::string_view text) { return text.substr(0, text.find('/')); }
std::string_view path_of(std::string_view text) {
  const auto slash = text.find('/');
  return slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
}

// One component under docker.io: docker writes library/ in front, and so it arrives.
std::string with_library(std::string_view registry, std::string_view path) {
  const bool is_short = registry == kDockerHub && !path.empty() && path.find('/') == std::string_view::npos;
  return fmt::format("{}/{}{}", registry, is_short && path != "**" ? "library/" : "", path);
}

// Registry in lower case and by its usual name, with library/ where docker has it.
std::string canonical(std::string_view text) {
  if (is_everything(text)) return std::string(text);
  std::string registry = lower_case(registry_of(text));
  if (registry == "index.docker.io" || registry == "registry-1.docker.io") registry = std::string(kDockerHub);
  const auto path = path_of(text);
  return path.empty() ? registry : with_library(registry, path);
}

// The first component of a name without a registry reads as docker.io's, not as a host's.
Error no_registry(std::string_view side, std::string_view text) {
  const auto first = printable(registry_of(text), 60), path = printable(path_of(text), 60);
  if (first == "*")
    return bad(side, text, fmt::format("names no registry: for any registry write \"**/{}\"", path));
  if (side == "from")
    return bad(
        side, text,
        fmt::format("names no registry: write \"docker.io/{}\" for images that people write as {}{}; a "
                    "registry of that name has a dot or a port, as \"{}:5000{}{}\"",
                    printable(text, 80), first, path.empty() ? "" : "/…", first, path.empty() ? "" : "/",
                    path));
  return bad(side, text,
             fmt::format("names no registry: begin with one, as \"registry.example.com/{}\", or with "
                         "\"docker.io/\" if Docker Hub is meant",
                         printable(text, 80)));
}

// What is wrong with one side as it is written, apart from what the other side says.
Result<Ok> check_side(std::string_view side, std::string_view text) {
  if (text.find("://") != std::string_view::npos)
    return bad(side, text,
               "is a URL: write host[:port]/repository; how a registry is reached stands in mirrors");
  if (auto pattern = Pattern::compile(text); !pattern)
    return Error{
        Errc::config, fmt::format("{}: {}", side, pattern.error().message), 0, 0, "alias_invalid", {}};
  if (path_of(text).find(':') != std::string_view::npos)
    return bad(side, text, "has a tag: an alias keeps tags and digests as they are, leave it out");
  if (is_everything(text)) return Ok{};
  const auto registry = registry_of(text);
  if (registry != "**" && !has_form_of_host(registry)) return no_registry(side, text);
  return Ok{};
}

std::string kind(const Star& star) { return star.is_many ? "**" : "*"; }

// The wildcards of `to` are those of `from`, one by one.
Result<Ok> check_stars(const AliasEntry& entry) {
  const auto from = stars_of(entry.from), to = stars_of(entry.to);
  if (to.size() > from.size())
    return bad("to", entry.to,
               fmt::format("has {} wildcard{}, but from \"{}\" has {}: what would the last one stand for?",
                           to.size(), to.size() == 1 ? "" : "s", printable(entry.from, 80),
                           from.empty() ? std::string("none") : std::to_string(from.size())));
  for (std::size_t i = 0; i < to.size(); ++i)
    if (to[i].is_many != from[i].is_many)
      return bad("to", entry.to,
                 fmt::format(
                     "has {} as wildcard number {} where from \"{}\" has {}: they are filled in by position, "
                     "so both must be the same",
                     kind(to[i]), i + 1, printable(entry.from, 80), kind(from[i])));
  return Ok{};
}

// Is this side a legal name once its wildcards are filled in? `text` is the whole of what is written.
Result<Ok> check_form(std::string_view side, std::string_view written, const std::string& text) {
  if (is_everything(text)) return Ok{};
  const std::string sample = filled(text, [](const Star&, std::size_t) { return std::string("1"); });
  if (auto name = parse_registry_name(registry_of(sample)); !name)
    return bad(side, written, "begins with no registry: " + name.error().message);
  if (path_of(sample).empty())
    return bad(side, written, "names no repository: write one behind the registry, as \"/app\" or \"/**\"");
  if (auto good = check_repository(path_of(sample)); !good)
    return bad(side, written, "is no legal name: " + good.error().message);
  return Ok{};
}

}  // namespace

Alias::Alias(AliasEntry entry, std::string from, std::string to, Pattern pattern,
             std::optional<Pattern> target)
    : entry_(std::move(entry)),
      from_(std::move(from)),
      to_(std::move(to)),
      pattern_(std::move(pattern)),
      target_(std::move(target)) {}

Result<Alias> Alias::compile(const AliasEntry& entry) {
  if (auto good = check_side("from", entry.from); !good) return std::move(good).error();
  if (auto good = check_side("to", entry.to); !good) return std::move(good).error();
  AliasEntry whole = entry;
  if (!is_everything(whole.from) && path_of(whole.from).empty()) {
    const auto stars = stars_of(whole.from).size();
    whole.from += "/**";
    if (!is_everything(whole.to) && stars_of(whole.to).size() <= stars) whole.to += "/**";
  }
  if (auto good = check_stars(whole); !good) return std::move(good).error();
  std::string from = canonical(whole.from), to = canonical(whole.to);
  if (auto good = check_form("from", entry.from, from); !good) return std::move(good).error();
  if (auto good = check_form("to", entry.to, to); !good) return std::move(good).error();
  auto pattern = Pattern::compile(from);
  if (!pattern) return bad("from", entry.from, "is too long");
  std::optional<Pattern> target;
  if (const auto registry = registry_of(to); !is_everything(registry)) {
    auto compiled = Pattern::compile(registry);
    if (!compiled) return bad("to", entry.to, "is too long");
    target = std::move(*compiled);
  }
  return Alias(entry, std::move(from), std::move(to), std::move(*pattern), std::move(target));
}

std::string Alias::str() const {
  return fmt::format("{{from: \"{}\", to: \"{}\"}}", printable(entry_.from, 80), printable(entry_.to, 80));
}

std::optional<Result<Alias::Name>> Alias::apply(const RegistryName& registry,
                                                std::string_view repository) const {
  const std::string subject = registry.text + "/" + std::string(repository);
  const auto captures = pattern_.match(subject);
  if (!captures) return std::nullopt;
  const std::string text =
      filled(to_, [&](const Star&, std::size_t n) { return n < captures->size() ? (*captures)[n] : ""; });
  const auto fail = [&](const std::string& why) {
    return Error{Errc::config,
                 fmt::format("the alias {} turns {} into \"{}\", which is no name of an image: {}", str(),
                             subject, printable(text, 120), why),
                 0,
                 0,
                 "alias_result_invalid",
                 {}};
  };
  auto name = parse_registry_name(registry_of(text));
  if (!name) return Result<Name>(fail(name.error().message));
  if (path_of(text).empty()) return Result<Name>(fail("it has no repository"));
  std::string path(path_of(with_library(name->text, path_of(text))));
  if (auto good = check_repository(path); !good) return Result<Name>(fail(good.error().message));
  return Result<Name>(Name{std::move(*name), std::move(path), str()});
}

namespace {
// Words that no pattern of a person holds. What matches names made of them has a wildcard there.
constexpr std::string_view kWord = "zq7";

// A name that `pattern` is about, `many` words for each "**".
std::string example_of(std::string_view pattern, std::size_t many) {
  const auto slash = std::min(pattern.find('/'), pattern.size());
  return filled(pattern, [&](const Star& star, std::size_t) {
    const bool in_registry = star.at < slash;
    if (!star.is_many) {
      const bool is_port = in_registry && pattern.substr(0, star.at).find(':') != std::string_view::npos;
      return std::string(is_port ? "7" : kWord);
    }
    // Of a registry there is always a label at least.
    const bool is_registry = star.at == 0 && (star.size == slash || pattern[star.size] == ':');
    std::string words;
    for (std::size_t i = 0; i < (is_registry ? std::max<std::size_t>(many, 1) : many); ++i)
      words.append(i ? in_registry ? "." : "/" : "").append(kWord);
    return words;
  });
}
}  // namespace

bool Alias::covers(const Alias& other) const {
  if (is_everything(from_)) return true;
  if (is_everything(other.from_)) return false;
  for (const std::size_t many : {0u, 1u, 12u})
    if (!pattern_.matches(example_of(other.from_, many))) return false;
  return true;
}

bool Alias::covers_registry(std::string_view registry) const {
  for (const std::size_t many : {1u, 12u})
    if (!pattern_.matches(example_of(std::string(registry) + "/**", many))) return false;
  return true;
}

bool Alias::leads_to(std::string_view registry) const { return target_ && target_->matches(registry); }

std::string Alias::doubt() const {
  const auto from = stars_of(from_).size(), to = stars_of(to_).size();
  if (to >= from) return {};
  return fmt::format(
      "to: \"{}\" leaves out what wildcard number {} of from \"{}\" stands for: all these names become one",
      printable(entry_.to, 80), to + 1, printable(entry_.from, 80));
}

}  // namespace layerd::registry
