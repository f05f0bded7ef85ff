#include "proxy/upstream/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostTokens = 1024;
constexpr std::chrono::seconds kAnonymousRefusal{5};
constexpr std::chrono::seconds kRateLimitWithoutWord{5};
constexpr std::chrono::seconds kLongestRateLimit{300};
constexpr std::chrono::seconds kShortestRest{15};  // a token said to have less left: the clocks differ
constexpr std::chrono::seconds kRenewalPause{5};   // after a renewal that failed while the old token is good

// What a wrong password is remembered by: it is wrong for every scope.
std::string account_of(const TokenRequest& request) {
  return fmt::format("{}\n{}", request.realm.str(), request.credentials->identity);
}

std::string key_of(const TokenRequest& request) {
  std::string key = fmt::format("{}\n{}\n{}", request.realm.str(),
                                request.credentials ? request.credentials->identity : "", request.service);
  // Nobody gets what only others may ask for, and strangers do not see that others have asked.
  key += fmt::format("\n{}{}", static_cast<int>(request.policy), request.for_stranger ? "s" : "");
  for (const auto& scope : request.scopes) key += "\n" + scope;
  return key;
}

}  // namespace

Duration token_lifetime(const registry::TokenResponse& response, WallTime now) {
  if (!response.issued_at) return response.lifetime;
  const auto age = now - WallTime(std::chrono::seconds(*response.issued_at));
  const auto left = Duration(response.lifetime) - age;
  if (age < Duration::zero() || left < kShortestRest) return response.lifetime;
  return left;
}

Duration token_renewal(Duration lifetime) {
  return std::max(std::min(lifetime / 10 * 9, lifetime - Duration(std::chrono::seconds(10))),
                  Duration::zero());
}

struct Tokens::Waiter final : Pending<TokenGrant> {
  Waiter(Done<TokenGrant> done, Tokens* o, std::string k)
      : Pending<TokenGrant>(std::move(done)), owner(o), key(std::move(k)) {}
  void on_cancel() noexcept override {
    if (owner != nullptr) owner->leave(key, *this);
  }
  Tokens* owner;  // null once the answer is posted
  std::string key;
};

Tokens::Tokens(Loop& loop, http::Client& client, const FetcherSettings& settings, Metrics& metrics)
    : loop_(loop),
      client_(client),
      settings_(settings),
      metrics_(metrics),
      refusals_(settings.refused_first, settings.refused_most) {}

Tokens::~Tokens() {
  for (auto& [key, entry] : entries_)
    for (auto& waiter : entry.waiters) waiter->owner = nullptr;
}

Ticket Tokens::get(const TokenRequest& request, Done<TokenGrant> done) {
  LAYERD_ON_LOOP(loop_);
  const auto key = key_of(request);
  const auto refused = refusal_of(key, request);
  if (const auto known = entries_.find(key); known != entries_.end() && is_good(known->second)) {
    auto& entry = known->second;
    if (loop_.now() >= entry.renew_at && !entry.exchange && !refused) {
      entry.is_renewal = true;
      begin(key, entry, request);
    }
    return loop_.post([grant = TokenGrant{entry.token, false, entry.expires_at - loop_.now(), entry.left_out},
                       done = std::move(done)]() mutable { done(std::move(grant)); });
  }
  if (refused)
    return loop_.post([error = *refused, done = std::move(done)]() mutable { done(std::move(error)); });

  make_room();
  auto& entry = entries_[key];
  auto waiter = std::make_shared<Waiter>(std::move(done), this, key);
  entry.waiters.push_back(waiter);
  entry.is_renewal = false;
  if (!entry.exchange) begin(key, entry, request);
  return Ticket(waiter);
}

// A token server that refuses us, or limits us, at a renewal takes nothing away from the token we hold.
bool Tokens::is_good(const Entry& entry) const {
  return !entry.token.empty() && loop_.now() < entry.expires_at;
}

std::optional<Error> Tokens::refusal_of(const std::string& key, const TokenRequest& request) const {
  auto refused = refusals_.holding(key, loop_.now());
  if (!refused && request.credentials) refused = refusals_.holding(account_of(request), loop_.now());
  return refused;
}

void Tokens::begin(const std::string& key, Entry& entry, const TokenRequest& request) {
  entry.exchange = std::make_unique<TokenExchange>(loop_, client_, settings_, request);
  const auto account = request.credentials ? account_of(request) : std::string();
  entry.exchange->start([this, key, account](Result<registry::TokenResponse> answer) {
    remember_outcome(key, account, answer);
    on_answer(key, std::move(answer));
  });
}

// account: empty for anonymous requests.
void Tokens::remember_outcome(const std::string& key, const std::string& account,
                              const Result<registry::TokenResponse>& answer) {
  const auto now = loop_.now();
  if (answer) {
    refusals_.forget(key);
    if (!account.empty()) refusals_.forget(account);
    return;
  }
  const auto& error = answer.error();
  if (error.status == 429) {
    const auto wait = std::min(error.retry_after.value_or(kRateLimitWithoutWord), kLongestRateLimit);
    return refusals_.add_until(key, now, now + wait, error);
  }
  if (error.code != Errc::denied) return;
  if (account.empty()) return refusals_.add_until(key, now, now + kAnonymousRefusal, error);
  refusals_.add(error.status == 403 ? key : account, now, error);  // a wrong password is wrong for all scopes
}

// The waiters are answered on later stacks: each of them may destroy others, and this.
void Tokens::on_answer(const std::string& key, Result<registry::TokenResponse> answer) {
  metrics_
      .counter("layerd_token_requests_total", "Token requests to token servers, by result.",
               {{"result", answer ? "ok" : std::string(name_of(answer.error().code))}})
      .add();
  auto& entry = entries_[key];
  if (answer) {
    const auto lifetime = token_lifetime(*answer, loop_.wall_now());
    entry.token = answer->token;
    entry.left_out = entry.exchange->left_out();
    entry.renew_at = loop_.now() + token_renewal(lifetime);
    entry.expires_at = loop_.now() + lifetime;
  } else {
    entry.renew_at = loop_.now() + kRenewalPause;
  }
  const auto result = answer ? Result<TokenGrant>(TokenGrant{answer->token, true,
                                                             entry.expires_at - loop_.now(), entry.left_out})
                             : Result<TokenGrant>(std::move(answer).error());
  auto waiters = std::exchange(entry.waiters, {});
  entry.is_renewal = false;
  auto ended = std::move(entry.exchange);  // destroyed on return: it called us as its last deed
  if (entry.token.empty()) entries_.erase(key);
  for (auto& waiter : waiters) {
    waiter->owner = nullptr;
    loop_.post_detached([waiter, result] { waiter->answer(result); });
  }
}

void Tokens::leave(const std::string& key, const Waiter& waiter) noexcept {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  auto& entry = found->second;
  entry.waiters.remove_if([&waiter](const auto& other) { return other.get() == &waiter; });
  if (!entry.waiters.empty() || entry.is_renewal) return;
  entry.exchange.reset();
  if (entry.token.empty()) entries_.erase(found);
}

void Tokens::drop(const TokenRequest& request, const std::string& token) {
  const auto found = entries_.find(key_of(request));
  if (found == entries_.end() || found->second.token != token) return;
  found->second.token.clear();
  if (!found->second.exchange) entries_.erase(found);
}

// Entries somebody waits for are as many as there are requests, which are bounded elsewhere; the
// others go, first what ends first.
void Tokens::make_room() {
  if (entries_.size() < kMostTokens) return;
  auto victim = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->second.exchange) continue;
    if (victim == entries_.end() || entry->second.expires_at < victim->second.expires_at) victim = entry;
  }
  if (victim != entries_.end()) entries_.erase(victim);
}

}  // namespace layerd::upstream
