#include "proxy/tags.h"

#include <fmt/core.h>

#include "runtime/answer_later.h"

namespace layerd::proxy {
namespace {

using upstream::kInAll;  // tags.check_within: auto
using upstream::kWithoutProgress;

constexpr Duration kMissingFor = std::chrono::seconds(5);
constexpr std::size_t kMostMissing = 1024;
constexpr std::size_t kMostChecked = 4096;
constexpr std::size_t kMostRegistries = 1024;

std::string name_of_tag(const cache::RepositoryKey& repository, const std::string& tag) {
  return repository + ":" + tag;
}

// What upstream says to one asker about a tag need not hold for another.
std::string question_of(const registry::Target& target, const std::string& tag) {
  return target.question() + ":" + tag;
}

// Makes room by forgetting everything: what is forgotten here costs one more question upstream.
template <class Map>
void bound(Map& map, std::size_t most) {
  if (map.size() >= most) map.clear();
}

}  // namespace

// One question upstream about one tag, from the HEAD to the kept record.
class Tags::Check {
 public:
  Check(Tags& tags, MirrorSettingsPtr settings, registry::TargetPtr target, std::string tag)
      : tags_(tags),
        settings_(std::move(settings)),
        target_(std::move(target)),
        repository_(target_->key()),
        tag_(std::move(tag)),
        progress_(std::make_shared<TimePoint>(tags.parts_.loop.now())),
        began_(*progress_) {}

  void start() {
    // Its manifest was evicted: what it names is looked for when upstream does not answer.
    if (tags_.parts_.catalog.tag(repository_, tag_)) arm_patience();
    if (!tags_.usable(repository_, tag_)) return fetch(tag_, std::nullopt);
    upstream::FetchRequest request;
    request.target = target_;
    request.kind = upstream::Kind::manifest;
    request.head_only = true;
    request.reference = tag_;
    request.deadline = Deadline::in(began_, kSourceWithin);
    request.progress = [mark = progress_, &loop = tags_.parts_.loop] { *mark = loop.now(); };
    asking_ = tags_.parts_.fetcher.fetch(std::move(request), [this](Result<upstream::FetchResponse> answer) {
      answer ? compare(*answer) : fail(answer.error());
    });
  }

  Ticket join(Done<TagAnswer> done) {
    if (patience_ended_) {
      if (auto record = tags_.usable(repository_, tag_))
        return answer_later<TagAnswer>(tags_.parts_.loop, stale(std::move(*record), slow()), std::move(done));
    }
    return waiters_.add(std::move(done));
  }

  void answer(const Result<TagAnswer>& result) { waiters_.answer(result); }

 private:
  // How long the clients wait before they get the stale record, from now on.
  void arm_patience() {
    const TimePoint now = tags_.parts_.loop.now();
    Deadline end;
    if (settings_->check_within) {
      end = Deadline::in(began_, *settings_->check_within);
    } else if (tags_.failed_last_.contains(target_->registry)) {
      end = Deadline::in(began_, kWithoutProgress);
    } else {
      end = Deadline::in(*progress_, kWithoutProgress).sooner(Deadline::in(began_, kInAll));
    }
    if (end.passed(now)) return lose_patience();
    patience_ = tags_.parts_.loop.at(end, "tag check patience", [this] { arm_patience(); });
  }

  void lose_patience() {
    auto record = tags_.usable(repository_, tag_);
    if (!record) return static_cast<void>(bring_back());
    patience_ended_ = true;
    tags_.remember_failed(target_->registry);
    waiters_.answer(stale(std::move(*record), slow()));
  }

  void compare(const upstream::FetchResponse& answer) {
    const auto said = answer.headers.get("Docker-Content-Digest");
    auto digest = said ? Digest::parse(*said) : Result<Digest>(Errc::upstream_protocol, "no digest");
    *progress_ = tags_.parts_.loop.now();
    if (!digest) return fetch(tag_, std::nullopt);
    auto record = tags_.usable(repository_, tag_);
    if (!record || record->digest != *digest) {
      was_confirmed_ = true;
      const std::string reference = digest->str();
      return fetch(reference, std::move(*digest));
    }
    tags_.keep(repository_, tag_, *record);
    tags_.ended(question_of(*target_, tag_), TagAnswer{TagAnswer::Origin::confirmed, std::move(*record), {}});
  }

  void fetch(const std::string& reference, std::optional<Digest> expected) {
    // What upstream has named is as new as it can be, whoever brings the bytes.
    const bool is_named = expected.has_value();
    asking_ = tags_.manifests_.fetch(
        target_, reference, std::move(expected), [this, is_named](Result<ManifestPtr> got) {
          if (!got) return fail(got.error());
          cache::TagRecord record{(*got)->digest, (*got)->media_type, (*got)->body.bytes.size(), 0};
          if (!(*got)->member.empty() && !is_named) return recalled(std::move(record), *got);
          tags_.keep(repository_, tag_, record);
          tags_.ended(question_of(*target_, tag_),
                      TagAnswer{TagAnswer::Origin::fetched, std::move(record), {}, *got});
        });
  }

  // As old as it is there: the next request asks upstream again.
  void recalled(cache::TagRecord record, ManifestPtr manifest) {
    record.checked_at = manifest->checked_at;
    tags_.parts_.catalog.put_tag(repository_, tag_, record);
    tags_.remember_failed(target_->registry);
    auto answer = stale(std::move(record), fmt::format("{} cannot be asked; this is what {} of the site has",
                                                       target_->registry, manifest->member));
    answer.manifest = std::move(manifest);
    tags_.ended(question_of(*target_, tag_), std::move(answer));
  }

  // 404 is upstream's word and is passed on; after everything else an old record is better than nothing.
  void fail(const Error& error) {
    const std::string name = question_of(*target_, tag_);
    if (error.code == Errc::upstream_status && error.status == 405 && !asked_by_get_) {
      asked_by_get_ = true;  // a registry without HEAD for manifests
      return fetch(tag_, std::nullopt);
    }
    // What HEAD named is gone by now, or not at this replica yet: the tag itself says what there is.
    if (error.code == Errc::not_found && was_confirmed_ && !asked_by_get_) {
      asked_by_get_ = true;
      return fetch(tag_, std::nullopt);
    }
    if (error.code == Errc::not_found) {
      tags_.failed_last_.erase(target_->registry);
      tags_.remember_missing(name);
      return tags_.ended(name, error);
    }
    const bool is_denied = error.code == Errc::denied;
    if (is_denied && !is_open()) return tags_.ended(name, error);
    tags_.remember_failed(target_->registry);
    if (auto record = tags_.usable(repository_, tag_)) {
      auto answer = stale(std::move(*record), error.message);
      answer.was_denied = is_denied;
      return tags_.ended(name, std::move(answer));
    }
    failed_ = error;
    if (is_denied || !bring_back()) tags_.ended(name, error);
  }

  // The record is here and what it names is not: a member of the site may have it, or upstream gives the
  // digest while it does not answer for the tag. Once. False: there is nothing to wait for.
  bool bring_back() {
    if (is_bringing_back_) return bringing_back_.held();
    const auto record = tags_.parts_.catalog.tag(repository_, tag_);
    if (!record) return false;
    is_bringing_back_ = true;
    bringing_back_ = tags_.manifests_.fetch(
        target_, record->digest.str(), record->digest,
        [this, record = *record](Result<ManifestPtr> got) { brought_back(record, std::move(got)); });
    return true;
  }

  void brought_back(cache::TagRecord record, Result<ManifestPtr> got) {
    bringing_back_.reset();
    const std::string name = question_of(*target_, tag_);
    if (!got && failed_) return tags_.ended(name, Error(*failed_));
    if (!got) return;
    auto answer = stale(std::move(record), failed_ ? failed_->message : slow());
    answer.manifest = std::move(*got);
    if (failed_) return tags_.ended(name, std::move(answer));
    patience_ended_ = true;
    tags_.remember_failed(target_->registry);
    waiters_.answer(std::move(answer));
  }

  // Who has to be let in loses the tag with the right; what was for anybody may have become private, or
  // a registry may be confused.
  bool is_open() const {
    const auto kept = tags_.parts_.catalog.repository(repository_);
    return kept && kept->repository_class == cache::RepositoryClass::open;
  }

  TagAnswer stale(cache::TagRecord record, std::string why) const {
    return {TagAnswer::Origin::stale, std::move(record), std::move(why), nullptr};
  }
  std::string slow() const {
    return fmt::format("{} did not answer in time whether {} still holds", target_->registry, tag_);
  }

  Tags& tags_;
  MirrorSettingsPtr settings_;
  registry::TargetPtr target_;
  cache::RepositoryKey repository_;
  std::string tag_;
  std::shared_ptr<TimePoint> progress_;  // when the attempt last moved on
  TimePoint began_;
  Waiters<TagAnswer> waiters_;
  bool patience_ended_ = false;  // who waited has the stale record; the question goes on
  bool asked_by_get_ = false;
  bool was_confirmed_ = false;   // HEAD said that the tag exists
  std::optional<Error> failed_;  // while what the record names is looked for
  bool is_bringing_back_ = false;
  Ticket asking_, patience_, bringing_back_;
};

Tags::Tags(const MirrorParts& parts, Manifests& manifests) : parts_(parts), manifests_(manifests) {}
Tags::~Tags() = default;

std::optional<cache::TagRecord> Tags::fresh(const MirrorSettings& settings, const registry::Target& target,
                                            const std::string& tag) {
  const cache::RepositoryKey repository = target.key();
  auto record = parts_.catalog.tag(repository, tag);
  if (!record) return std::nullopt;
  const std::string name = name_of_tag(repository, tag);
  // By monotonic time where this process checked it itself; else by the wall clock, whose steps must
  // not make a record of the future fresh.
  if (const auto checked = checked_.find(name); checked != checked_.end()) {
    if (parts_.loop.now() - checked->second < settings.fresh_for) return record;
  } else {
    const std::int64_t age = unix_seconds(parts_.loop.wall_now()) - record->checked_at;
    if (age >= 0 && std::chrono::seconds(age + 1) <= settings.fresh_for) return record;
  }
  for (const registry::Pattern& pattern : settings.immutable) {
    if (pattern.matches(name)) return record;
  }
  return std::nullopt;
}

Ticket Tags::find(MirrorSettingsPtr settings, const registry::TargetPtr& target, const std::string& tag,
                  Done<TagAnswer> done) {
  if (settings->offline) return answer_offline(*target, tag, std::move(done));
  const std::string name = question_of(*target, tag);
  if (remembered_missing(name)) {
    Error missing{Errc::not_found, fmt::format("upstream said a moment ago that {} does not exist",
                                               name_of_tag(target->key(), tag))};
    return answer_later<TagAnswer>(parts_.loop, std::move(missing), std::move(done));
  }
  if (!checks_.contains(name) && checks_.size() >= kMostQuestions)
    return answer_later<TagAnswer>(parts_.loop, too_many_questions("tags"), std::move(done));
  auto& check = checks_[name];
  if (check) return check->join(std::move(done));
  check = std::make_unique<Check>(*this, std::move(settings), target, tag);
  Ticket waiting = check->join(std::move(done));
  check->start();
  return waiting;
}

Ticket Tags::answer_offline(const registry::Target& target, const std::string& tag, Done<TagAnswer> done) {
  const cache::RepositoryKey repository = target.key();
  if (auto record = usable(repository, tag)) {
    TagAnswer answer{TagAnswer::Origin::stale, std::move(*record), "offline: true, no upstream is asked",
                     nullptr};
    return answer_later<TagAnswer>(parts_.loop, std::move(answer), std::move(done));
  }
  Error error{Errc::upstream_unreachable,
              fmt::format("{} is not in the cache, and with offline: true no upstream is asked",
                          name_of_tag(repository, tag))};
  error.diagnosis = "offline";
  return answer_later<TagAnswer>(parts_.loop, std::move(error), std::move(done));
}

std::optional<cache::TagRecord> Tags::usable(const cache::RepositoryKey& repository,
                                             const std::string& tag) const {
  auto record = parts_.catalog.tag(repository, tag);
  if (record && !manifests_.here(record->digest)) record.reset();
  return record;
}

void Tags::keep(const cache::RepositoryKey& repository, const std::string& tag, cache::TagRecord& record) {
  record.checked_at = unix_seconds(parts_.loop.wall_now());
  parts_.catalog.put_tag(repository, tag, record);
  bound(checked_, kMostChecked);
  checked_[name_of_tag(repository, tag)] = parts_.loop.now();
  failed_last_.erase(repository.substr(0, repository.find('/')));
}

void Tags::remember_failed(const std::string& registry_name) {
  bound(failed_last_, kMostRegistries);
  failed_last_.insert(registry_name);
}

void Tags::remember_missing(const std::string& name) {
  bound(missing_until_, kMostMissing);
  missing_until_[name] = parts_.loop.now() + kMissingFor;
}

bool Tags::remembered_missing(const std::string& name) {
  const auto found = missing_until_.find(name);
  if (found == missing_until_.end()) return false;
  if (parts_.loop.now() < found->second) return true;
  missing_until_.erase(found);
  return false;
}

// The check is over. It is destroyed here, from within its own callback, after everybody was answered.
void Tags::ended(const std::string& name, Result<TagAnswer> result) {
  const auto check = std::move(checks_.extract(name).mapped());
  check->answer(result);
}

}  // namespace layerd::proxy
