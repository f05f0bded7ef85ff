// One rule of `aliases`: names of one form become names of another (design.md §2.2, §3.1 step 2).
// Pure; compiled once, any thread afterwards.
//
// Both sides are patterns of registry/repository. What the n-th wildcard of `from` stood for goes where
// the n-th wildcard of `to` is. A `from` without a path is a registry with all it holds, and `to` then
// says what stands in front of the repository instead. As docker reads names, one component under
// docker.io has library/ in front: "docker.io/nginx" is docker.io/library/nginx, on both sides.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "runtime/result.h"

namespace layerd::registry {

// As written in the configuration.
struct AliasEntry {
  std::string from, to;
};

inline constexpr std::size_t kMostAliases = 256;

class Alias {
 public:
  struct Name {
    RegistryName registry;
    std::string repository;
    std::string alias = {};  // str() of the rule that made it
  };

  // Errors: config; the sentence says which side is wrong, why, and what to write instead.
  static Result<Alias> compile(const AliasEntry& entry);

  // The name that `registry`/`repository` becomes; nothing if the rule is not about it.
  // Errors: config with diagnosis alias_result_invalid: the rule makes no legal name of this one.
  std::optional<Result<Name>> apply(const RegistryName& registry, std::string_view repository) const;

  // Every name the other one is about this one is about as well, as far as wildcards tell.
  bool covers(const Alias& other) const;
  // The same of all names of a registry.
  bool covers_registry(std::string_view registry) const;
  // May `registry` ("host", "host:port") be what the rule leads to? Never for a `to` that leaves the
  // registry wholly to who asks.
  bool leads_to(std::string_view registry) const;
  // What is legal and rarely meant, as a sentence for a warning; empty if there is nothing to say.
  std::string doubt() const;

  const AliasEntry& entry() const { return entry_; }
  std::string str() const;  // {from: "…", to: "…"}

 private:
  Alias(AliasEntry entry, std::string from, std::string to, Pattern pattern, std::optional<Pattern> target);
  AliasEntry entry_;
  std::string from_, to_;  // whole: with a path, with library/
  Pattern pattern_;        // of from_
  std::optional<Pattern> target_;
};

}  // namespace layerd::registry
