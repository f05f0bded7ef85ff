#include "proxy/repository_classes.h"

#include <fmt/core.h>

#include "runtime/answer_later.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;

constexpr std::int64_t kClassWrittenEvery = 600;  // seconds
constexpr std::size_t kMostNotes = 4096;
constexpr Duration kNoted = std::chrono::seconds(5);  // as long as a 404: rights and passwords are set right
constexpr Duration kContradictedEvery = std::chrono::seconds(30);

bool is_relayed(upstream::Kind kind) {
  return kind == upstream::Kind::referrers || kind == upstream::Kind::tags;
}

}  // namespace

std::int64_t unix_seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

registry::TargetPtr as_nobody(const registry::Target& target) {
  auto other = std::make_shared<registry::Target>(target);
  other->as = {registry::AskAs::Who::nobody, {}, "nobody"};
  return other;
}

registry::TargetPtr as_stranger(const registry::Target& target) {
  auto other = std::make_shared<registry::Target>(target);
  other->as = {registry::AskAs::Who::stranger, {}, "stranger"};
  return other;
}

void keep_class(cache::Catalog& catalog, const Loop& loop, const registry::Target& target,
                bool authenticated) {
  const auto repository = target.key();
  const auto kept = catalog.repository(repository);
  // Credentials that go along prove nothing about an open repository, whosever they are.
  if (authenticated && kept && kept->repository_class == RepositoryClass::open) return;
  auto found = RepositoryClass::open;
  if (authenticated)
    found = target.as.who == registry::AskAs::Who::client ? RepositoryClass::client : RepositoryClass::node;
  const auto now = unix_seconds(loop.wall_now());
  const bool recent = kept && kept->checked_at <= now && now - kept->checked_at < kClassWrittenEvery;
  if (recent && kept->repository_class == found) return;
  catalog.put_repository(repository, {found, now});
}

Ticket LearningFetcher::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  const auto target = request.target;
  return fetcher_.fetch(std::move(request), [&catalog = catalog_, &loop = loop_, target,
                                             done = std::move(done)](auto answer) mutable {
    if (answer) keep_class(catalog, loop, *target, answer->authenticated);
    done(std::move(answer));
  });
}

// One repository asked about: as nobody, then as the node.
class RepositoryClasses::Question {
 public:
  Question(RepositoryClasses& classes, std::string name, registry::TargetPtr target, AskedObject object,
           bool for_stranger)
      : classes_(classes),
        name_(std::move(name)),
        target_(std::move(target)),
        object_(std::move(object)),
        for_stranger_(for_stranger) {}

  bool is_for_stranger() const { return for_stranger_; }
  Ticket join(Done<RepositoryClass> done) { return waiters_.add(std::move(done)); }
  void answer(const Result<RepositoryClass>& result) { waiters_.answer(result); }
  // Only a member of the site said so: SiteFetcher keeps it as what is to be asked again.
  bool is_hearsay() const { return is_hearsay_; }

  void start() {
    auto target = for_stranger_ ? as_stranger(*target_) : as_nobody(*target_);
    asking_ = ask(std::move(target), [this](Result<upstream::FetchResponse> answer) {
      is_hearsay_ = answer && !answer->member.empty();
      if (answer && !answer->authenticated) return end(RepositoryClass::open);
      if (answer) return end(opened_by_certificate());
      const auto& error = answer.error();
      const bool is_refusal = error.code == Errc::denied || error.code == Errc::not_found;
      if (for_stranger_ || !is_refusal) return end(error);
      // The node's credentials may be turned off.
      target_->as.who == registry::AskAs::Who::nobody ? refused_to_the_node(Error(error)) : ask_as_node();
    });
  }

 private:
  // The node's client certificate is shown whoever asks: what it opens is the node's.
  Result<RepositoryClass> opened_by_certificate() const {
    if (!for_stranger_) return RepositoryClass::node;
    return Error{Errc::denied, fmt::format("{} gives {} to who has a client certificate", target_->registry,
                                           target_->repository)};
  }

  Ticket ask(registry::TargetPtr target, Done<upstream::FetchResponse> done) {
    upstream::FetchRequest request;
    request.target = std::move(target);
    request.kind = object_.kind;
    request.head_only = !is_relayed(object_.kind);
    request.reference = object_.reference;
    request.query = object_.query;
    // What upstream said here no member changes.
    request.upstream_only = classes_.parts_.catalog.repository(target_->key()).has_value();
    request.deadline = Deadline::in(classes_.parts_.loop.now(), kSourceWithin);
    return classes_.parts_.fetcher.fetch(std::move(request), std::move(done));
  }

  void ask_as_node() {
    asking_ = ask(target_, [this](Result<upstream::FetchResponse> answer) {
      is_hearsay_ = answer && !answer->member.empty();
      if (answer) return end(answer->authenticated ? RepositoryClass::node : RepositoryClass::open);
      refused_to_the_node(answer.error());
    });
  }

  void refused_to_the_node(const Error& error) {
    // What a registry hides behind a 404 it hides from who asks first; what is known to have been
    // there may just as well be gone.
    const bool is_new = !classes_.parts_.catalog.repository(target_->key());
    const bool is_refusal = error.code == Errc::denied || (error.may_be_hidden && is_new);
    if (!is_refusal) return end(error);
    classes_.refused(target_->key(), error);
    end(RepositoryClass::client);
  }

  void end(Result<RepositoryClass> result) {
    const std::string name = name_;  // we are destroyed in there
    classes_.ended(name, std::move(result));
  }

  RepositoryClasses& classes_;
  std::string name_;
  registry::TargetPtr target_;
  AskedObject object_;
  bool for_stranger_;
  bool is_hearsay_ = false;
  Waiters<RepositoryClass> waiters_;
  Ticket asking_;
};

RepositoryClasses::RepositoryClasses(const MirrorParts& parts) : parts_(parts) {}
RepositoryClasses::~RepositoryClasses() = default;

// A record of the future is old: the clock was set back.
bool RepositoryClasses::is_old(const AccessSettings& settings, const cache::RepositoryRecord& kept) const {
  const auto age = unix_seconds(parts_.loop.wall_now()) - kept.checked_at;
  return age < 0 || Duration(std::chrono::seconds(age)) >= settings.recheck;
}

RepositoryClasses::Known RepositoryClasses::of(const AccessSettings& settings,
                                               const cache::RepositoryKey& repository) const {
  const auto kept = parts_.catalog.repository(repository);
  // The node's right is none where clients have to bring their own.
  const bool is_void =
      kept && kept->repository_class == RepositoryClass::node && settings.requires_client(repository);
  if (kept && is_void) return {RepositoryClass::client, false, is_old(settings, *kept)};
  if (kept) return {kept->repository_class, false, is_old(settings, *kept)};
  const auto note = notes_.find(repository);
  if (note == notes_.end() || parts_.loop.now() >= note->second.until) return {};
  return {RepositoryClass::client, note->second.is_only_hidden()};
}

bool RepositoryClasses::is_doubtful(const cache::RepositoryKey& repository) const {
  const auto kept = parts_.catalog.repository(repository);
  return kept && kept->checked_at <= doubtful_until_;
}

const Error* RepositoryClasses::refusal_of(const cache::RepositoryKey& repository) const {
  const auto note = notes_.find(repository);
  return note == notes_.end() ? nullptr : &note->second.why;
}

void RepositoryClasses::refused(const cache::RepositoryKey& repository, const Error& error) {
  if (notes_.size() >= kMostNotes) notes_.clear();
  notes_[repository] = {parts_.loop.now() + kNoted, error};
}

Ticket RepositoryClasses::learn(const registry::TargetPtr& target, const AskedObject& object,
                                bool for_stranger, Done<RepositoryClass> done) {
  const std::string name = fmt::format("{}\n{}\n{}\n{}", target->question(), object.reference,
                                       static_cast<int>(object.kind), for_stranger);
  if (const auto said = refused_to_stranger_.find(name);
      said != refused_to_stranger_.end() && parts_.loop.now() < said->second.until)
    return answer_later<RepositoryClass>(parts_.loop, said->second.why, std::move(done));
  if (!questions_.contains(name) && questions_.size() >= kMostQuestions)
    return answer_later<RepositoryClass>(parts_.loop, too_many_questions("repositories"), std::move(done));
  auto& question = questions_[name];
  if (question) return question->join(std::move(done));
  question = std::make_unique<Question>(*this, name, target, object, for_stranger);
  Ticket waiting = question->join(std::move(done));
  question->start();
  return waiting;
}

void RepositoryClasses::used(const AccessSettings& settings, const registry::TargetPtr& target,
                             const AskedObject& object, bool now) {
  const auto repository = target->key();
  const auto kept = parts_.catalog.repository(repository);
  if (!kept) return;
  if (!is_old(settings, *kept) && !now) return;
  const auto asked = asked_at_.find(repository);
  const auto pause = now ? std::min(settings.recheck, kContradictedEvery) : settings.recheck;
  if (asked != asked_at_.end() && parts_.loop.now() - asked->second < pause) return;
  if (asked_at_.size() >= kMostNotes) asked_at_.clear();
  asked_at_[repository] = parts_.loop.now();
  // Nobody waits: the question goes on by itself, and its answer is kept in ended().
  learn(target, object, false, [](Result<RepositoryClass>) {}).reset();
}

void RepositoryClasses::doubt_all() {
  notes_.clear();
  refused_to_stranger_.clear();
  asked_at_.clear();
  doubtful_until_ = unix_seconds(parts_.loop.wall_now());
}

// The question is over. It is destroyed here, from within its own callback, after everybody was answered.
void RepositoryClasses::ended(const std::string& name, Result<RepositoryClass> result) {
  const auto question = std::move(questions_.extract(name).mapped());
  if (result && !question->is_hearsay()) keep(name.substr(0, name.find('\n')), *result);
  if (!result && question->is_for_stranger()) note_refused_to_stranger(name, result.error());
  question->answer(result);
}

// Strangers have upstream asked once in a while, however often they ask.
void RepositoryClasses::note_refused_to_stranger(const std::string& name, const Error& error) {
  if (error.code != Errc::denied && error.code != Errc::not_found) return;
  if (refused_to_stranger_.size() >= kMostNotes) refused_to_stranger_.clear();
  refused_to_stranger_[name] = {parts_.loop.now() + kNoted, error};
}

void RepositoryClasses::keep(const cache::RepositoryKey& repository, RepositoryClass found) {
  const auto kept = parts_.catalog.repository(repository);
  // Nothing of it is here: the note is enough.
  if (!kept && found == RepositoryClass::client) return;
  if (kept && kept->repository_class != found)
    LogLine(LogLevel::info, "class_changed")
        .field("ref", repository)
        .field("from", static_cast<int>(kept->repository_class))
        .field("to", static_cast<int>(found));
  parts_.catalog.put_repository(repository, {found, unix_seconds(parts_.loop.wall_now())});
}

}  // namespace layerd::proxy
