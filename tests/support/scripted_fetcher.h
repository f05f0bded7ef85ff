// ScriptedFetcher: an upstream::Fetcher whose endpoints misbehave on order, on any Loop. Each endpoint has
// one Script; bytes handed out are counted.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/upstream/fetcher.h"
#include "runtime/loop.h"

namespace layerd::test {

// How one endpoint answers. Times are the loop's.
struct Script {
  std::string content;     // what it holds for the digest, right or wrong
  Duration head_after{};   // before the head
  Duration chunk_after{};  // before each chunk; 0: posted
  ByteCount chunk = 64_KiB;
  std::optional<ByteCount> cut_after;    // every body breaks off after so many bytes ...
  unsigned cuts = ~0u;                   // ... so many times, then no more
  std::optional<ByteCount> stall_after;  // every body falls silent after so many bytes
  unsigned stalls = ~0u;
  bool never_answers = false;            // no head; upstream_timeout at the deadline
  std::optional<Error> error;            // instead of an answer
  unsigned errors = ~0u;                 // so many times, then it answers
  bool ranges = true;                    // false: every GET is answered from byte 0 with 200
  bool length = true;                    // false: no Content-Length on GET, no total on 206
  bool head_length = true;               // false: HEAD names none either
  std::optional<ByteCount> claims;       // the total it names, whatever it holds
  std::optional<ByteCount> head_claims;  // the same to HEAD alone
};

class ScriptedFetcher final : public upstream::Fetcher {
 public:
  explicit ScriptedFetcher(Loop& loop) : loop_(loop), state_(std::make_shared<State>()) {}

  // By endpoint host. An unknown one gives not_found.
  Script& at(const std::string& host) { return state_->scripts[host]; }

  Ticket fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) override;

  struct Asked {
    std::string host;
    std::optional<ByteRange> range;
    bool head_only = false;
  };
  const std::vector<Asked>& asked() const { return state_->asked; }
  ByteCount bytes_out() const { return state_->bytes_out; }
  std::size_t bodies_open() const { return state_->bodies_open; }
  std::size_t most_bodies_open() const { return state_->most_bodies_open; }

  struct State {
    std::map<std::string, Script> scripts;
    std::vector<Asked> asked;
    ByteCount bytes_out = 0;
    std::size_t bodies_open = 0;
    std::size_t most_bodies_open = 0;
  };

 private:
  struct Call;
  Loop& loop_;
  std::shared_ptr<State> state_;
};

// A target with one endpoint per host, https, the same repository at each.
registry::TargetPtr target_at(const std::vector<std::string>& hosts,
                              const std::string& repository = "library/app");

}  // namespace layerd::test
