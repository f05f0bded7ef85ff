#include "proxy/check_walk.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>
#include <utility>

#include "proxy/check_words.h"
#include "proxy/registry/near_misses.h"
#include "proxy/upstream/failover.h"
#include "proxy/upstream/wire.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr Duration kWalk = std::chrono::seconds(50);      // in all
constexpr Duration kEndpoint = std::chrono::seconds(25);  // of one endpoint, at most
// Names what only the registry of an image is looked at for; no alias is written for it on purpose.
constexpr const char* kNoRepository = "layerd/login";

registry::Platform own_platform() {
  utsname facts{};
  ::uname(&facts);
  return registry::platform_of_machine(facts.machine);
}

// Endpoints as they are, without the repository that was only there to find them.
registry::TargetPtr without_repository(const registry::Target& target) {
  auto bare = std::make_shared<registry::Target>(target);
  bare->repository.clear();
  for (auto& endpoint : bare->endpoints) {
    endpoint.repository.clear();
    endpoint.rewrite.clear();
  }
  return bare;
}

}  // namespace

std::optional<std::string> registry_in(std::string_view name, const registry::Rules& rules) {
  const bool is_url = name.starts_with("https://") || name.starts_with("http://");
  if (is_url) name.remove_prefix(name.find("://") + 3);
  const bool has_slash = name.ends_with('/');
  if (has_slash) name.remove_suffix(1);
  if (name.find('/') != name.npos || name.find('@') != name.npos) return std::nullopt;
  const auto parsed = registry::parse_registry_name(name);
  if (!parsed) return std::nullopt;
  const bool has_dot =
      parsed->host.find('.') != std::string::npos || parsed->host.find(':') != std::string::npos;
  const bool is_known = rules.is_configured(parsed->host, parsed->port.value_or(443));
  if (is_url || has_slash || has_dot || is_known || parsed->host == "localhost") return parsed->text;
  return std::nullopt;
}

Result<Ok> check_question(const CheckQuestion& question) {
  if (!question.platform.empty())
    if (auto platform = registry::parse_platform(question.platform); !platform)
      return std::move(platform).error();
  if (registry_in(question.name, *question.rules)) return Ok{};
  if (auto image = registry::parse_image_name(question.name); !image) return std::move(image).error();
  return Ok{};
}

CheckWalk::CheckWalk(const CheckParts& parts, CheckQuestion question, Done<CheckReport> done)
    : Pending<CheckReport>(std::move(done)),
      parts_(parts),
      question_(std::move(question)),
      deadline_(Deadline::in(parts.loop.now(), kWalk)),
      recorder_(report_, facts_),
      kit_(parts, recorder_, question_.proxies) {
  report_.name = printable(question_.name, 300);
}

void CheckWalk::start() {
  pending_ = parts_.loop.post([this] { read_name(); });
}

void CheckWalk::read_name() {
  platform_ = own_platform();
  if (!question_.platform.empty()) {
    auto wanted = registry::parse_platform(question_.platform);
    LAYERD_CHECK(wanted);
    platform_ = std::move(*wanted);
  }
  if (const auto registry = registry_in(question_.name, *question_.rules)) {
    report_.add("name", StepState::good, fmt::format("the registry {}: its login is walked", *registry));
    return resolve(*registry, {});
  }
  auto image = registry::parse_image_name(question_.name);
  LAYERD_CHECK(image);
  image_ = std::move(*image);
  report_
      .add("name", StepState::good,
           fmt::format("registry {}, repository {}, {}", image_->registry, image_->repository,
                       image_->digest ? image_->digest->str() : "tag " + image_->reference()))
      .facts = {
      {"registry", image_->registry}, {"repository", image_->repository}, {"reference", image_->reference()}};
  facts_.reference = image_->digest ? "the digest " + image_->reference() : "the tag " + image_->reference();
  resolve(image_->registry, image_->repository);
}

void CheckWalk::resolve(const std::string& ns, const std::string& repository) {
  report_.asked_registry = facts_.registry = facts_.host = ns;
  facts_.repository = repository;
  auto target = question_.rules->resolve(ns, repository.empty() ? kNoRepository : repository);
  if (!target) return end("rules", target.error());
  target_ = repository.empty() ? without_repository(**target) : std::move(*target);
  facts_.registry = target_->registry;
  tell_rules(ns, repository);
  if (question_.offline) return answer_from_cache();
  next_endpoint();
}

void CheckWalk::tell_rules(const std::string& ns, const std::string& repository) {
  std::string said;
  if (!target_->alias.empty())
    said =
        fmt::format("the alias {} makes it {}", target_->alias, image_ ? target_->key() : target_->registry);
  if (!target_->mirror.empty())
    said += fmt::format("{}mirrors.\"{}\" counts", said.empty() ? "" : "; ", target_->mirror);
  auto& step = report_.add("rules", StepState::good,
                           said.empty() ? fmt::format("no alias and no mirror are about {}", ns) : said);
  step.facts = {{"alias", target_->alias},
                {"mirror", target_->mirror},
                {"registry", target_->registry},
                {"repository", target_->repository}};
  for (const auto& near : registry::near_misses(
           *question_.input, repository.empty() ? kNoRepository : std::string_view(repository), *target_))
    step.details.push_back("near: " + printable(near, 500));
}

void CheckWalk::next_endpoint() {
  const auto own = Deadline::in(parts_.loop.now(), kEndpoint).sooner(deadline_);
  asking_ =
      std::make_unique<EndpointWalk>(parts_, kit_, report_, recorder_, facts_, target_, *question_.rules,
                                     endpoint_, image_ ? image_->reference() : std::string(), own);
  asking_->start([this](Result<upstream::FetchResponse> response) { on_endpoint(std::move(response)); });
}

void CheckWalk::on_endpoint(Result<upstream::FetchResponse> response) {
  const auto ended = std::move(asking_);
  if (response && !image_) return finish();
  if (response) by_credentials_ = response->authenticated;
  if (response) return walk_image(*response);
  errors_.push_back(response.error());
  verdicts_.push_back(verdict_of(response.error(), facts_));
  const bool has_time = !deadline_.passed(parts_.loop.now());
  if (++endpoint_ >= target_->endpoints.size() || !has_time) return all_failed();
  next_endpoint();
}

// By the digest that was told, so that what is kept need not be asked for.
void CheckWalk::walk_image(const upstream::FetchResponse& response) {
  const auto told = Digest::parse(response.headers.get("Docker-Content-Digest").value_or(""));
  if (image_->digest == std::nullopt && told)
    report_.add("tag", StepState::good, fmt::format("{} is {}", image_->reference(), told->str())).facts = {
        {"digest", told->str()}};
  const auto reference = image_->digest ? image_->digest->str() : told ? told->str() : image_->reference();
  looking_ = std::make_unique<ImageWalk>(parts_, kit_, report_, recorder_, target_, *question_.rules,
                                         endpoint_, reference, platform_, deadline_);
  looking_->start([this](Result<Ok> result) { on_image(std::move(result)); });
}

void CheckWalk::on_image(Result<Ok> result) {
  const auto ended = std::move(looking_);
  if (!result) report_.diagnosis = verdict_of(result.error(), facts_);
  finish();
}

// The error a pull would end with: the one that tells most.
void CheckWalk::all_failed() {
  const auto told = upstream::most_telling(errors_);
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < errors_.size(); ++i)
    if (told.message.starts_with(errors_[i].message)) chosen = i;
  report_.diagnosis = std::move(verdicts_[chosen]);
  tell_cache(StepState::told);
  finish();
}

void CheckWalk::answer_from_cache() {
  if (image_) tell_cache(StepState::good);
  const bool is_kept = !report_.steps.empty() && report_.steps.back().step == "cache";
  if (is_kept) return finish();
  Error error{
      Errc::upstream_unreachable,
      fmt::format("{} is not in the cache, and with offline: true no upstream is asked", report_.name)};
  error.diagnosis = "offline";
  end("offline", error);
}

// What is served nevertheless.
void CheckWalk::tell_cache(StepState state) {
  if (!image_ || !parts_.store || !parts_.catalog) return;
  std::optional<Digest> digest = image_->digest;
  std::string when;
  if (!digest) {
    const auto record = parts_.catalog->tag(target_->key(), image_->reference());
    if (!record) return;
    digest = record->digest;
    const auto age = parts_.loop.wall_now() - WallTime(std::chrono::seconds(record->checked_at));
    when = fmt::format(" of {} ago", span_words(age));
  }
  if (!parts_.store->known_size(*digest)) return;
  report_.add("cache", state, fmt::format("layerd keeps the manifest{} and serves it nevertheless", when))
      .facts = {{"digest", digest->str()}};
}

// What layerd has learned of the repository; what it has not, as this walk met it.
void CheckWalk::tell_access() {
  using Class = cache::RepositoryClass;
  if (!image_ || !target_ || !parts_.catalog) return;
  if (const auto kept = parts_.catalog->repository(target_->key());
      kept && kept->repository_class != Class::unknown) {
    const auto age = parts_.loop.wall_now() - WallTime(std::chrono::seconds(kept->checked_at));
    return proxy::tell_access(report_, kept->repository_class,
                              fmt::format("learned {} ago", span_words(std::max<Duration>(age, {}))));
  }
  const bool is_refused = std::any_of(errors_.begin(), errors_.end(),
                                      [](const Error& error) { return error.code == Errc::denied; });
  const auto met = by_credentials_ ? (*by_credentials_ ? Class::node : Class::open)
                   : is_refused    ? Class::client
                                   : Class::unknown;
  proxy::tell_access(report_, met, "by this walk; no pull has told yet");
}

void CheckWalk::end(std::string_view step, const Error& error) {
  report_.add(step, StepState::bad, printable(error.message, 1000));
  report_.diagnosis = verdict_of(error, facts_);
  finish();
}

void CheckWalk::finish() {
  tell_access();
  // On a stack of its own: the flows that led here refer to what is destroyed with this.
  pending_ = parts_.loop.post([this] { answer(std::move(report_)); });
}

void CheckWalk::on_cancel() noexcept {
  pending_.reset();
  asking_.reset();
  looking_.reset();
}

Ticket check_name(const CheckParts& parts, CheckQuestion question, Done<CheckReport> done) {
  LAYERD_ON_LOOP(parts.loop);
  auto walk = std::make_shared<CheckWalk>(parts, std::move(question), std::move(done));
  walk->start();
  return Ticket(walk);
}

}  // namespace layerd::proxy
