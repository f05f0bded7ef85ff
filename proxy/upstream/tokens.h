// Tokens: the bearer tokens we hold, by realm, service, scopes and credentials. One request for all
// who wait for the same token; renewed before they run out; refusals remembered. Loop thread.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/upstream/refusals.h"
#include "proxy/upstream/token_exchange.h"
#include "runtime/metrics.h"

namespace layerd::upstream {

struct TokenGrant {
  std::string token;
  bool is_fresh = false;      // asked for just now, not found in the cache
  Duration good_for{};        // from now
  std::string left_out = {};  // it is nobody's token: why the credentials were of no use, for people
};

// How long a token is good from now. Its lifetime counts from issued_at when that is believable: a
// clock that is wrong, ours or theirs, must not make every token look dead.
Duration token_lifetime(const registry::TokenResponse& response, WallTime now);
// When a token of that lifetime is to be renewed: min(0.9 * lifetime, lifetime - 10 s).
Duration token_renewal(Duration lifetime);

class Tokens {
 public:
  // `settings` may change between calls; all references outlive this.
  Tokens(Loop& loop, http::Client& client, const FetcherSettings& settings, Metrics& metrics);
  Tokens(const Tokens&) = delete;
  Tokens& operator=(const Tokens&) = delete;
  // Whoever still waits is never answered.
  ~Tokens();

  // Errors: as TokenExchange::start. A 401 or 403 is remembered: with credentials for
  // settings.refused_first and longer each time, without for 5 s; 429 for its Retry-After. A token that is
  // good is answered all the same.
  // Dropping the Ticket: the request goes on only while others wait for it.
  Ticket get(const TokenRequest& request, Done<TokenGrant> done);
  // A registry did not take `token`: it is not handed out again.
  void drop(const TokenRequest& request, const std::string& token);

  std::size_t size() const { return entries_.size(); }

 private:
  struct Waiter;
  struct Entry {
    std::string token, left_out;
    TimePoint renew_at{}, expires_at{};
    std::unique_ptr<TokenExchange> exchange;  // runs while not null
    bool is_renewal = false;                  // nobody waits for it, yet it goes on
    std::list<std::shared_ptr<Waiter>> waiters;
  };

  bool is_good(const Entry& entry) const;
  std::optional<Error> refusal_of(const std::string& key, const TokenRequest& request) const;
  void begin(const std::string& key, Entry& entry, const TokenRequest& request);
  void on_answer(const std::string& key, Result<registry::TokenResponse> answer);
  void remember_outcome(const std::string& key, const std::string& account,
                        const Result<registry::TokenResponse>& answer);
  void leave(const std::string& key, const Waiter& waiter) noexcept;
  void make_room();

  Loop& loop_;
  http::Client& client_;
  const FetcherSettings& settings_;
  Metrics& metrics_;
  Refusals refusals_;
  std::map<std::string, Entry> entries_;
};

}  // namespace layerd::upstream
