// The one pattern grammar of the configuration (design.md §2.2): a registry name, optionally with a
// repository and a tag behind it. Pure; compiled once, any thread afterwards.
//
//   *    one label of the registry name, one component of the path, or one tag
//   **   any number of them, none as well: "docker.io/nexus/**" is docker.io/nexus and all below it
//   ab*  inside a label, component or tag: any run of characters of it
//
// "*" alone is every registry and every name. A registry name without a port and the same with :443 are one
// registry, in patterns and in what is matched with them; any other port is another one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::registry {

class Pattern {
 public:
  // Errors: config; the sentence says what is wrong with `text` (empty, too long, a character that
  // no name has, "***").
  static Result<Pattern> compile(std::string_view text);

  // What each wildcard stood for, in order of position; nothing if `subject` does not match. Of the two
  // ways to write the registry the one without :443 counts first. Linear in the length of `subject`.
  std::optional<std::vector<std::string>> match(std::string_view subject) const;
  bool matches(std::string_view subject) const;
  // Of "registry/repository": a pattern of a registry alone is about all that it holds.
  bool matches_repository(std::string_view key) const {
    return matches(key) || matches(key.substr(0, key.find('/')));
  }
  // matches() of just this spelling.
  bool matches_as_written(std::string_view subject) const;
  // True for "*" and "**": it names nothing in particular.
  bool is_everything() const { return text_ == "*" || text_ == "**"; }
  const std::string& text() const { return text_; }

 private:
  struct Program;
  Pattern(std::string text, std::shared_ptr<const Program> program);
  std::optional<std::vector<std::string>> match_as_written(std::string_view subject) const;
  std::string text_;
  std::shared_ptr<const Program> program_;
};

// "reg.example/app" for "reg.example:443/app", which is the same; empty: it has no such port.
std::string without_https_port(std::string_view name);

}  // namespace layerd::registry
