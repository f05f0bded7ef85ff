#include "proxy/grants.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "proxy/registry/text.h"
#include "runtime/answer_later.h"

namespace layerd::proxy {
namespace {

constexpr Duration kRefusedFirst = std::chrono::seconds(30);
constexpr Duration kRefusedMost = std::chrono::minutes(10);
constexpr Duration kMissedFor = std::chrono::seconds(5);  // as long as any other 404
// How long those who have a grant of earlier wait for its renewal, and how long upstream then counts
// as silent.
constexpr Duration kPatience = std::chrono::seconds(2);
constexpr Duration kSilentFor = std::chrono::seconds(30);
// So many different passwords of one account may be wrong before none is tried any more for a while.
constexpr std::size_t kMostWrongPasswords = 3;
// How long a password waits for others of its account. With the time of its own test that is less than the
// 30 s after which containerd gives a host up.
constexpr Duration kMostInLine = std::chrono::seconds(8);
constexpr Duration kWrongFor = std::chrono::hours(1);  // then a wrong password counts no longer
constexpr Duration kLongAgo = std::chrono::hours(24 * 400);
constexpr std::size_t kMostRemembered = 4096;
// Old grants are looked for with so many rows at once, a pause between, and a long one after the last row.
constexpr std::size_t kSweptAtOnce = 256;
constexpr Duration kSweepPause = std::chrono::seconds(5);
constexpr Duration kSweepEvery = std::chrono::hours(1);

template <class Map>
void bound(Map& map) {
  if (map.size() >= kMostRemembered) map.clear();
}

std::string object_name(const AskedObject& object) {
  return fmt::format("{} {}", static_cast<int>(object.kind), object.reference);
}

// Every answer is upstream's own: its yes to one is no grant of anything that is kept here.
bool is_list(const AskedObject& object) {
  return object.kind == upstream::Kind::tags || object.kind == upstream::Kind::referrers;
}

std::string grant_value(std::int64_t tested_at, const AskedObject& proof) {
  return fmt::format("{} {}", tested_at, object_name(proof));
}

// Did the password go upstream? What was held back here tells nothing about it.
bool was_tried(const Error& error) {
  return error.status == 401 && error.diagnosis != "credentials_missing" &&
         error.diagnosis != "credentials_withheld";
}

}  // namespace

// One client's credentials being tried at one repository.
class Grants::Test {
 public:
  Test(Grants& grants, std::string name, registry::TargetPtr client, AskedObject object, bool has_grace)
      : grants_(grants),
        name_(std::move(name)),
        client_(std::move(client)),
        object_(std::move(object)),
        has_grace_(has_grace) {}

  const registry::Target& client() const { return *client_; }
  bool has_begun() const { return has_begun_; }

  void start() {
    has_begun_ = true;
    in_line_.reset();
    auto& loop = grants_.parts_.loop;
    deadline_ = Deadline::in(loop.now(), kSourceWithin);
    if (has_grace_)
      patience_ = loop.after(kPatience, "grant patience", [this] {
        is_late_ = true;
        note_silence();
        waiters_.answer(Ok{});
      });
    ask(object_);
  }

  // Others of the account are being tried, and they may all be wrong.
  void wait_in_line() {
    in_line_ = grants_.parts_.loop.after(kMostInLine, "password in line", [this] {
      end(Error{Errc::upstream_timeout,
                fmt::format("{} has not said yet whether other passwords of the same account are right; this "
                            "one was not tried, so that the account is not locked",
                            client_->registry)});
    });
  }

  Ticket join(Done<Ok> done) {
    if (is_late_) return answer_later<Ok>(grants_.parts_.loop, Ok{}, std::move(done));
    return waiters_.add(std::move(done));
  }
  void answer(const Result<Ok>& result) { waiters_.answer(result); }

 private:
  void ask(const AskedObject& object) {
    upstream::FetchRequest request;
    request.target = client_;
    request.kind = object.kind;
    request.head_only = !is_list(object);
    request.reference = object.reference;
    request.query = object.query;
    request.deadline = deadline_;
    asking_ = grants_.parts_.fetcher.fetch(
        std::move(request),
        [this](Result<upstream::FetchResponse> answer) { answer ? on_yes() : on_no(answer.error()); });
  }

  void on_yes() {
    if (is_list(object_)) return end(Ok{});
    if (!is_about_proof_) {
      grants_.grant(*client_, object_);
      return end(Ok{});
    }
    // The right still holds: it is the object that is missing.
    grants_.grant(*client_, proof_);
    end(missing_);
  }

  void on_no(const Error& error) {
    if (error.code == Errc::denied) {
      grants_.refuse(*client_, error);
      return end(error);
    }
    if (is_list(object_) && error.code == Errc::not_found) return end(Ok{});  // it is passed on
    if (error.code != Errc::not_found) {
      if (!has_grace_) return end(error);
      note_silence();
      return end(Ok{});
    }
    if (!is_about_proof_) {
      grants_.miss(*client_, object_, error);
      const auto kept = grants_.kept(grants_.row_of(*client_));
      if (!kept || object_name(kept->proof) == object_name(object_)) return lose(error);
      // Is it missing, or hidden from these credentials? What they once got tells.
      is_about_proof_ = true;
      missing_ = error;
      proof_ = kept->proof;
      return ask(proof_);
    }
    lose(missing_);
  }

  void lose(const Error& error) {
    const auto row = grants_.row_of(*client_);
    grants_.parts_.catalog.remove_grant(row);
    grants_.tested_.erase(row);
    end(error);
  }

  void note_silence() {
    bound(grants_.silent_until_);
    grants_.silent_until_[grants_.row_of(*client_)] = grants_.parts_.loop.now() + kSilentFor;
  }

  void end(Result<Ok> result) {
    const std::string name = name_;  // we are destroyed in there
    grants_.ended(name, std::move(result));
  }

  Grants& grants_;
  std::string name_;
  registry::TargetPtr client_;
  AskedObject object_, proof_;
  bool has_grace_;
  bool has_begun_ = false;
  bool is_late_ = false;  // who waited goes on with the grant of earlier; the question goes on
  bool is_about_proof_ = false;
  Error missing_;
  Deadline deadline_;
  Waiters<Ok> waiters_;
  Ticket asking_, patience_, in_line_;
};

Grants::Grants(const MirrorParts& parts) : parts_(parts), refusals_(kRefusedFirst, kRefusedMost) {}
Grants::~Grants() = default;

std::string Grants::row_of(const registry::Target& client) const {
  return "g" + parts_.key.name_of(client.question());
}

// As it was named by versions that kept "host:443" apart (registry::Target::older_key).
void Grants::take_over_older_row(const registry::Target& client, const std::string& row) {
  if (client.older_key.empty() || parts_.catalog.grant(row)) return;
  const auto older = "g" + parts_.key.name_of(client.older_key + "\n" + client.as.name);
  const auto value = parts_.catalog.grant(older);
  if (!value) return;
  parts_.catalog.put_grant(row, *value);
  parts_.catalog.remove_grant(older);
}

std::string Grants::account_of(const registry::Target& client) const {
  return "account " + client.registry + "\n" + client.as.credentials.username;
}

std::optional<Grants::Grant> Grants::read_grant(std::string_view value) {
  const auto parts = registry::split(value, ' ');
  if (parts.size() != 3) return std::nullopt;
  const auto tested_at = registry::parse_digits(parts[0]);
  if (!tested_at) return std::nullopt;
  Grant grant;
  grant.tested_at = static_cast<std::int64_t>(*tested_at);
  grant.proof.kind = parts[1] == "1" ? upstream::Kind::blob : upstream::Kind::manifest;
  grant.proof.reference = std::string(parts[2]);
  return grant;
}

bool Grants::is_too_old(const Grant& grant) const {
  const auto age = unix_seconds(parts_.loop.wall_now()) - grant.tested_at;
  return age >= 0 && Duration(std::chrono::seconds(age)) >= keep_for_;
}

std::optional<Grants::Grant> Grants::kept(const std::string& row) {
  const auto value = parts_.catalog.grant(row);
  auto grant = value ? read_grant(*value) : std::nullopt;
  if (value && (!grant || is_too_old(*grant))) {
    parts_.catalog.remove_grant(row);
    grant.reset();
  }
  return grant;
}

void Grants::keep_for(Duration age) {
  keep_for_ = age;
  if (!sweep_.held()) sweep_after(kSweepPause);
}

void Grants::sweep_after(Duration wait) {
  sweep_ = parts_.loop.after(wait, "old grants", [this] { sweep(); });
}

// A grant of the future (the clock was set back) counts from now on, so that it ends some day as well.
void Grants::sweep() {
  const auto now = unix_seconds(parts_.loop.wall_now());
  std::vector<std::string> old, of_the_future;
  std::string next;
  std::size_t seen = 0;
  parts_.catalog.each_grant(sweep_from_, [&](std::string_view row, std::string_view value) {
    if (++seen > kSweptAtOnce) next = row;
    if (!next.empty()) return false;
    const auto grant = read_grant(value);
    if (!grant || is_too_old(*grant)) old.emplace_back(row);
    if (grant && grant->tested_at > now) of_the_future.emplace_back(row);
    return true;
  });
  for (const auto& row : old) parts_.catalog.remove_grant(row);
  for (const auto& row : of_the_future)
    if (const auto grant = kept(row)) parts_.catalog.put_grant(row, grant_value(now, grant->proof));
  sweep_from_ = next;
  sweep_after(next.empty() ? kSweepEvery : kSweepPause);
}

Grants::Standing Grants::standing(const AccessSettings& settings, const registry::Target& client,
                                  const AskedObject& object) {
  const auto row = row_of(client);
  take_over_older_row(client, row);
  const auto now = parts_.loop.now();
  for (const auto& name : {row, row + "\n" + object_name(object), account_of(client)})
    if (auto why = refusals_.holding(name, now)) {
      // Who was let in before is not kept out by others who try passwords of the same account.
      if (name == account_of(client) && kept(row)) continue;
      return {Right::refused, std::move(why)};
    }
  if (const auto tested = tested_.find(row); tested != tested_.end()) {
    if (now - tested->second < settings.grant) return {Right::granted};
  } else if (const auto grant = kept(row)) {
    const auto age = unix_seconds(parts_.loop.wall_now()) - grant->tested_at;
    if (age >= 0 && Duration(std::chrono::seconds(age)) < settings.grant) return {Right::granted};
  }
  const auto silent = silent_until_.find(row);
  const bool is_silent = silent != silent_until_.end() && now < silent->second;
  return {is_silent && has_grace(settings, row) ? Right::granted : Right::untested};
}

// A clock that was set back must not end what it cannot judge.
bool Grants::has_grace(const AccessSettings& settings, const std::string& row) {
  const auto grant = kept(row);
  if (!grant) return false;
  const auto age = unix_seconds(parts_.loop.wall_now()) - grant->tested_at;
  return age < 0 || Duration(std::chrono::seconds(age)) < settings.offline_grace;
}

Ticket Grants::test(const AccessSettings& settings, const registry::TargetPtr& client,
                    const AskedObject& object, Done<Ok> done) {
  const std::string name = row_of(*client) + "\n" + object_name(object);
  if (!tests_.contains(name) && tests_.size() >= kMostQuestions)
    return answer_later<Ok>(parts_.loop, too_many_questions("credentials"), std::move(done));
  auto& test = tests_[name];
  if (test) return test->join(std::move(done));
  test = std::make_unique<Test>(*this, name, client, object, has_grace(settings, row_of(*client)));
  Ticket waiting = test->join(std::move(done));
  may_be_tried(*client) ? test->start() : test->wait_in_line();
  return waiting;
}

// Those that are being tried may all be wrong. What was granted before is no guess. Once so many were wrong
// they are tried one by one, as often as the account's refusal lets any through.
bool Grants::may_be_tried(const registry::Target& client) {
  if (client.as.credentials.username.empty() || kept(row_of(client))) return true;
  const auto account = account_of(client);
  std::set<std::string> running;
  for (const auto& [name, test] : tests_)
    if (test->has_begun() && account_of(test->client()) == account && !kept(row_of(test->client())))
      running.insert(test->client().as.name);
  running.erase(client.as.name);
  std::size_t wrong = 0;
  if (const auto known = wrong_passwords_.find(account); known != wrong_passwords_.end())
    for (const auto& [password, at] : known->second)
      wrong += password != client.as.name && parts_.loop.now() - at < kWrongFor;
  return running.empty() || running.size() + wrong < kMostWrongPasswords;
}

// Whoever is answered may destroy us: one at a time, each on a stack of its own.
void Grants::begin_those_who_wait() {
  for (const auto& [name, test] : tests_) {
    if (test->has_begun()) continue;
    auto why = refusals_.holding(account_of(test->client()), parts_.loop.now());
    if (why) {
      next_tests_ = parts_.loop.post([this] { begin_those_who_wait(); });
      return ended(std::string(name), std::move(*why));
    }
    if (may_be_tried(test->client())) test->start();
  }
}

void Grants::grant(const registry::Target& client, const AskedObject& proof) {
  const auto row = row_of(client);
  bound(tested_);
  tested_[row] = parts_.loop.now();
  silent_until_.erase(row);
  refusals_.forget(row);
  refusals_.forget(account_of(client));
  wrong_passwords_.erase(account_of(client));
  parts_.catalog.put_grant(row, grant_value(unix_seconds(parts_.loop.wall_now()), proof));
}

void Grants::refuse(const registry::Target& client, const Error& error) {
  const auto row = row_of(client);
  parts_.catalog.remove_grant(row);
  tested_.erase(row);
  silent_until_.erase(row);
  // Answers that were under way together are one refusal.
  if (!refusals_.holding(row, parts_.loop.now())) refusals_.add(row, parts_.loop.now(), error);
  if (was_tried(error)) note_wrong_password(client, error);
}

// One password counts once, however often and for however many repositories it is brought: a pod with an old
// secret must not keep the others out. Identity tokens are no passwords of an account.
void Grants::note_wrong_password(const registry::Target& client, const Error& error) {
  if (client.as.credentials.username.empty()) return;
  bound(wrong_passwords_);
  const auto account = account_of(client);
  const auto now = parts_.loop.now();
  auto& wrong = wrong_passwords_[account];
  std::erase_if(wrong, [now](const auto& password) { return now - password.second >= kWrongFor; });
  const bool is_new = wrong.insert_or_assign(client.as.name, now).second;
  if (!is_new || wrong.size() < kMostWrongPasswords) return;
  Error why = error;
  why.message += "; several passwords of this account were wrong, none is tried for a while";
  refusals_.add(account, now, std::move(why));
}

void Grants::miss(const registry::Target& client, const AskedObject& object, const Error& error) {
  const auto now = parts_.loop.now();
  refusals_.add_until(row_of(client) + "\n" + object_name(object), now, now + kMissedFor, error);
}

// The next request asks before it goes on.
void Grants::doubt(const registry::Target& client) {
  bound(tested_);
  tested_[row_of(client)] = parts_.loop.now() - kLongAgo;
}

// The test is over. It is destroyed here, from within its own callback, after everybody was answered.
void Grants::ended(const std::string& name, Result<Ok> result) {
  const auto test = std::move(tests_.extract(name).mapped());
  if (std::any_of(tests_.begin(), tests_.end(), [](const auto& other) { return !other.second->has_begun(); }))
    next_tests_ = parts_.loop.post([this] { begin_those_who_wait(); });
  parts_.metrics
      .counter("layerd_access_tests_total", "Credentials of clients tried at their registry, by result.",
               {{"result", result ? "ok" : std::string(name_of(result.error().code))}})
      .add();
  test->answer(result);
}

}  // namespace layerd::proxy
