#include "proxy/site_fetcher.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "proxy/download_settings.h"
#include "proxy/repository_classes.h"
#include "proxy/waiters.h"
#include "runtime/answer_later.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;
using Who = registry::AskAs::Who;

constexpr Duration kBodyWithin = std::chrono::seconds(5);
constexpr std::size_t kMostOnLoop = 64u << 10;  // larger ones are hashed by a worker
// Members that are full: tried again after 50 ms, 100 ms, ... 800 ms.
constexpr Duration kBusyFirst = std::chrono::milliseconds(50);
constexpr unsigned kBusyRounds = 5;

// Upstream could not be asked; its own no is its own no.
bool is_outage(const Error& error) {
  if (error.code == Errc::upstream_status) return error.status == 429 || error.status >= 500;
  return error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
}

// What is in memory already; of a HEAD nothing.
class HeldBody final : public http::BodyReader {
 public:
  HeldBody(Loop& loop, SmallBody body) : loop_(loop), body_(std::move(body)) {}
  Ticket read(std::size_t max, Done<Bytes> done) override {
    Bytes piece = Bytes::copy_of(ByteView(body_.bytes).substr(at_, max));
    at_ += piece.size();
    return answer_later<Bytes>(loop_, std::move(piece), std::move(done));
  }
  std::optional<ByteCount> length() const override { return body_.bytes.size(); }

 private:
  Loop& loop_;
  SmallBody body_;
  std::size_t at_ = 0;
};

RepositoryClass class_of(peers::Rights rights) {
  switch (rights) {
    case peers::Rights::open:
      return RepositoryClass::open;
    case peers::Rights::node:
      return RepositoryClass::node;
    case peers::Rights::client:
      return RepositoryClass::client;
    case peers::Rights::unknown:
      break;
  }
  return RepositoryClass::unknown;
}

// A client's right is between it and upstream: no member can speak for it.
bool may_have(Who who, peers::Rights rights) {
  if (rights == peers::Rights::open) return true;
  return rights == peers::Rights::node && who == Who::node;
}

}  // namespace

peers::Rights strictest(const std::vector<SiteMemory::Word>& words) {
  auto strictest = peers::Rights::unknown;
  for (const auto& word : words) strictest = std::max(strictest, word.answer.rights);
  return strictest;
}

Result<SiteMemory::Word> newest(const std::vector<SiteMemory::Word>& words, const std::string& what) {
  const SiteMemory::Word* best = nullptr;
  for (const auto& word : words)
    if (word.answer.known && (!best || word.answer.checked_at > best->answer.checked_at)) best = &word;
  if (!best) return Error{Errc::not_found, fmt::format("no member of the site knows {}", what)};
  if (best->answer.checked_at > 0) return *best;
  for (const auto& word : words)
    if (word.answer.known && word.answer.digest != best->answer.digest)
      return Error{
          Errc::upstream_protocol,
          fmt::format("{} was imported as {} on {} and as {} on {}; import the right one on this node, "
                      "or name the digest",
                      what, best->answer.digest.str(), best->member, word.answer.digest.str(), word.member)};
  return *best;
}

// One question, to upstream and, when that does not answer, to the site.
class SiteFetcher::Call final : public Pending<upstream::FetchResponse> {
 public:
  Call(SiteFetcher& fetcher, upstream::FetchRequest request, Done<upstream::FetchResponse> done)
      : Pending(std::move(done)),
        site_(fetcher),
        loop_(fetcher.parts_.loop),
        request_(std::move(request)),
        digest_(Digest::parse(request_.reference)),
        began_(loop_.now()),
        progress_(std::make_shared<TimePoint>(began_)) {}

  void start() {
    auto request = request_;
    request.progress = [mark = progress_, &loop = loop_, next = request_.progress] {
      *mark = loop.now();
      if (next) next();
    };
    asking_ = site_.parts_.upstream.fetch(std::move(request), [this](Result<upstream::FetchResponse> answer) {
      on_upstream(std::move(answer));
    });
    early_ = loop_.after(kAskSite, "upstream, before the site is asked", [this] { recall(); });
    arm_patience();
  }

 private:
  void on_upstream(Result<upstream::FetchResponse> answer) {
    if (answer || !is_outage(answer.error())) return end(std::move(answer));
    failed_ = answer.error();
    asking_.reset();
    patience_.reset();
    proceed();
  }

  // The rule of the tag checks: a slow path that moves on is no outage.
  void arm_patience() {
    const Deadline end = site_.within_ ? Deadline::in(began_, *site_.within_)
                                       : Deadline::in(*progress_, upstream::kWithoutProgress)
                                             .sooner(Deadline::in(began_, upstream::kInAll));
    if (!end.passed(loop_.now())) {
      patience_ = loop_.at(end, "upstream, before the site counts", [this] { arm_patience(); });
      return;
    }
    patience_.reset();
    is_overdue_ = true;
    proceed();
  }

  // Something has changed: what members say may count by now, or there is nothing more to wait for.
  void proceed() {
    if (!failed_ && !is_overdue_) return;
    if (!is_recalling_) return recall();
    if (has_recalled_ && !is_trying_) try_next();
  }

  void recall() {
    if (is_recalling_) return;
    early_.reset();
    is_recalling_ = true;
    const auto& target = *request_.target;
    recalling_ = site_.memory_->recall({target.registry, target.repository, request_.reference},
                                       [this](Result<std::vector<SiteMemory::Word>> words) {
                                         has_recalled_ = true;
                                         if (words) take(std::move(*words));
                                         proceed();
                                       });
  }

  // What fits the question. A moment that is still to come is the present one, whatever their clock says.
  void take(std::vector<SiteMemory::Word> words) {
    const ByteCount most = request_.kind == upstream::Kind::manifest ? kMostSmallBody : kMostBlob;
    const auto now = unix_seconds(loop_.wall_now());
    std::erase_if(words, [&](const SiteMemory::Word& word) {
      const auto& answer = word.answer;
      if (digest_ && answer.digest != *digest_) return true;
      return !answer.known || answer.size == 0 || answer.size > most;
    });
    for (auto& word : words) word.answer.checked_at = std::min(word.answer.checked_at, now);
    words_ = std::move(words);
    rights_ = strictest(words_);
  }

  // The next member that has the right digest; who failed has lost its word, who is busy keeps it.
  void try_next() {
    is_trying_ = true;
    auto right = newest(words_, fmt::format("{}:{}", request_.target->key(), request_.reference));
    if (!right && right.error().code != Errc::not_found) return give_up(std::move(right).error());
    if (!right || !may_have(request_.target->as.who, rights_)) return give_up(std::nullopt);
    const SiteMemory::Word* next = nullptr;
    for (const auto& word : words_) {
      if (word.answer.digest != right->answer.digest || busy_.contains(word.member)) continue;
      if (!next || word.answer.checked_at > next->answer.checked_at) next = &word;
    }
    if (!next) return wait_for_the_busy(right->answer.digest);
    word_ = *next;
    if (request_.head_only) return vouch({});
    const auto& target = *request_.target;
    recalling_ =
        site_.memory_->get(word_.member, {target.registry, target.repository, word_.answer.digest},
                           word_.answer.size, [this](Result<std::unique_ptr<http::BodyReader>> body) {
                             body ? read(std::move(*body)) : passed_over(body.error());
                           });
  }

  void read(std::unique_ptr<http::BodyReader> body) {
    recalling_ = read_whole(
        loop_, site_.bodies_, std::move(body), Deadline::in(loop_.now(), kBodyWithin),
        [this](Result<SmallBody> whole) { whole ? compare(std::move(*whole)) : passed_over(whole.error()); });
  }

  void compare(SmallBody body) {
    const auto algorithm = word_.answer.digest.algorithm();
    body_ = std::move(body);
    if (body_.bytes.size() <= kMostOnLoop) return compared(digest_of(algorithm, body_.bytes));
    recalling_ = site_.parts_.workers.run<Digest>(
        "compare a recalled manifest",
        [algorithm, bytes = body_.bytes]() -> Result<Digest> { return digest_of(algorithm, bytes); },
        [this](Result<Digest> digest) { digest ? compared(*digest) : passed_over(digest.error()); });
  }

  void compared(const Digest& digest) {
    if (digest == word_.answer.digest) return vouch(std::move(body_));
    body_ = {};
    const std::string why = fmt::format("it sent something else as {}", word_.answer.digest.str());
    site_.memory_->avoid(word_.member, why);
    passed_over({Errc::digest_mismatch, why});
  }

  void passed_over(const Error& why) {
    if (why.code == Errc::overloaded) {
      busy_.insert(word_.member);
      return try_next();
    }
    LogLine(LogLevel::info, "recall_passed_over")
        .field("ref", fmt::format("{}:{}", request_.target->key(), request_.reference))
        .field("member", word_.member)
        .field("err", why.message);
    std::erase_if(words_, [this](const auto& word) { return word.member == word_.member; });
    try_next();
  }

  void wait_for_the_busy(const Digest& digest) {
    if (rounds_ == kBusyRounds) {
      std::erase_if(words_, [&digest](const auto& word) { return word.answer.digest == digest; });
      return try_next();
    }
    recalling_ = loop_.after(kBusyFirst * (1 << rounds_++), "busy members of the site", [this] {
      busy_.clear();
      try_next();
    });
  }

  // Nobody brings it. Upstream may still answer; what only members disagree about is no answer until it
  // failed.
  void give_up(std::optional<Error> why) {
    recalling_.reset();
    is_trying_ = false;
    if (failed_) end(why ? *std::move(why) : *failed_);
  }

  void vouch(SmallBody body) {
    const auto& target = *request_.target;
    LogLine(LogLevel::info, "recalled")
        .field("ref", fmt::format("{}:{}", target.key(), request_.reference))
        .field("digest", word_.answer.digest.str())
        .field("member", word_.member);
    site_.recalled_.add();
    learn(target.key());
    upstream::FetchResponse response;
    response.headers.add("Docker-Content-Digest", word_.answer.digest.str());
    if (!word_.answer.media_type.empty()) response.headers.add("Content-Type", word_.answer.media_type);
    response.endpoint_name = "member " + word_.member;
    response.total = request_.head_only ? word_.answer.size : body.bytes.size();
    response.body_range = {0, *response.total};
    response.member = word_.member;
    response.checked_at = word_.answer.checked_at;
    response.authenticated = rights_ != peers::Rights::open;
    response.body = std::make_unique<HeldBody>(loop_, std::move(body));
    end(std::move(response));
  }

  // Only where nothing is known, and to be asked again as soon as upstream can be: what upstream said to this
  // node counts more.
  void learn(const std::string& repository) {
    const auto kept = site_.parts_.catalog.repository(repository);
    if (kept && kept->repository_class != RepositoryClass::unknown) return;
    site_.parts_.catalog.put_repository(repository, {class_of(rights_), 0});
  }

  void stop() {
    asking_.reset();
    early_.reset();
    patience_.reset();
    recalling_.reset();
  }
  void end(Result<upstream::FetchResponse> result) {
    stop();
    answer(std::move(result));
  }
  void on_cancel() noexcept override { stop(); }

  SiteFetcher& site_;
  Loop& loop_;
  const upstream::FetchRequest request_;
  const Result<Digest> digest_;  // an error: a tag is asked about
  const TimePoint began_;
  std::shared_ptr<TimePoint> progress_;  // when upstream last moved on
  std::optional<Error> failed_;          // upstream
  bool is_overdue_ = false;              // upstream
  bool is_recalling_ = false, has_recalled_ = false, is_trying_ = false;
  std::vector<SiteMemory::Word> words_;  // that were not found to be useless yet
  peers::Rights rights_ = peers::Rights::unknown;
  SiteMemory::Word word_;       // that is tried
  SmallBody body_;              // that is compared
  std::set<std::string> busy_;  // members, of this round
  unsigned rounds_ = 0;
  Ticket asking_, early_, patience_, recalling_;
};

bool SiteFetcher::may_recall(const upstream::FetchRequest& request) const {
  if (!memory_ || request.upstream_only || request.target->as.who == Who::client) return false;
  if (request.kind == upstream::Kind::blob) return request.head_only;
  if (request.kind != upstream::Kind::manifest) return false;
  if (Digest::parse(request.reference)) return true;
  return tags_ && !parts_.catalog.tag(request.target->key(), request.reference);
}

Ticket SiteFetcher::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  if (!may_recall(request)) return parts_.upstream.fetch(std::move(request), std::move(done));
  auto call = std::make_shared<Call>(*this, std::move(request), std::move(done));
  call->start();
  return Ticket(call);
}

}  // namespace layerd::proxy
