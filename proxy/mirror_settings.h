// What the handlers share: the parts of the process they use, and the settings a reload swaps.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "cache/catalog.h"
#include "proxy/access_settings.h"
#include "proxy/downloads.h"
#include "proxy/net/cgroups.h"
#include "proxy/net/socket_owner.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/rules.h"
#include "proxy/upstream/fetcher.h"
#include "runtime/budget.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/sealing.h"
#include "runtime/workers.h"

namespace layerd::proxy {

// Immutable; replaced whole by Mirror::set_settings.
struct MirrorSettings {
  registry::RulesPtr rules;                     // never null
  Duration fresh_for{std::chrono::seconds(2)};  // tags.fresh_for, >= 0
  std::optional<Duration> check_within;         // tags.check_within; nothing: auto
  std::vector<registry::Pattern> immutable;     // tags.immutable, against registry/repository:tag
  AccessSettings access = {};
  bool offline = false;                // no upstream is asked
  std::vector<std::string> own_names;  // Host rule: further names of ours, without port
  std::string instance;                // our pseudonym in Via; empty: the rule is off
};
using MirrorSettingsPtr = std::shared_ptr<const MirrorSettings>;

// Borrowed; all of them outlive the Mirror.
struct MirrorParts {
  Loop& loop;
  Workers& workers;
  Metrics& metrics;
  cache::BlobStore& store;
  cache::Catalog& catalog;
  Downloads& downloads;
  upstream::Fetcher& fetcher;
  BufferBudget& buffers;
  net::SocketOwners& owners;
  net::Cgroups& cgroups;
  const SealingKey& key;
};

// An upstream that gave no answer over all endpoints in this time makes a 502 (design.md §3.7).
inline constexpr Duration kSourceWithin = std::chrono::seconds(20);

// Questions upstream of one kind at once. They go on when their clients have left, so the bound on
// connections does not bound them.
inline constexpr std::size_t kMostQuestions = 1024;
inline Error too_many_questions(std::string_view what) {
  return {Errc::overloaded,
          "too many questions about " + std::string(what) + " are under way; try again later"};
}

}  // namespace layerd::proxy
