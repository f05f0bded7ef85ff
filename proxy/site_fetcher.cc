#include "proxy/site_fetcher.h"

#include <fmt/core.h>

#include "proxy/peer_shelf.h"
#include "proxy/repository_classes.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;
using Who = registry::AskAs::Who;

// Upstream could not be asked; its own no is its own no.
bool is_outage(const Error& error) {
  if (error.code == Errc::upstream_status) return error.status == 429 || error.status >= 500;
  return error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
}

// A body that is at its end at once.
class NoBody final : public http::BodyReader {
 public:
  explicit NoBody(Loop& loop) : loop_(loop) {}
  Ticket read(std::size_t, Done<Bytes> done) override {
    return loop_.post([done = std::move(done)]() mutable { done(Bytes()); });
  }
  std::optional<ByteCount> length() const override { return 0; }

 private:
  Loop& loop_;
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
      : Pending(std::move(done)), site_(fetcher), request_(std::move(request)) {}

  void start() {
    asking_ = site_.upstream_.fetch(
        request_, [this](Result<upstream::FetchResponse> answer) { on_upstream(std::move(answer)); });
    patience_ = site_.loop_.after(kPatience, "upstream, before the site is asked", [this] { recall(); });
  }

 private:
  void on_upstream(Result<upstream::FetchResponse> answer) {
    if (answer || !is_outage(answer.error())) return end(std::move(answer));
    failed_ = answer.error();
    asking_.reset();
    if (!is_recalling_) return recall();
    if (has_recalled_) end(*failed_);
  }

  void recall() {
    patience_.reset();
    is_recalling_ = true;
    const auto& target = *request_.target;
    recalling_ =
        site_.memory_->recall({target.registry, target.repository, request_.reference},
                              [this](Result<std::vector<SiteMemory::Word>> words) {
                                on_recalled(words ? std::move(*words) : std::vector<SiteMemory::Word>());
                              });
  }

  void on_recalled(std::vector<SiteMemory::Word> words) {
    has_recalled_ = true;
    auto word = newest(words, fmt::format("{}:{}", request_.target->key(), request_.reference));
    if (!word && word.error().code != Errc::not_found) return end(std::move(word).error());
    if (!word || !may_have(request_.target->as.who, word->answer.rights)) {
      if (failed_) end(*failed_);
      return;  // upstream may still answer
    }
    word_ = std::move(*word);
    if (request_.head_only) return vouch(std::make_unique<NoBody>(site_.loop_));
    const auto& target = *request_.target;
    recalling_ =
        site_.memory_->get(word_.member, {target.registry, target.repository, word_.answer.digest},
                           word_.answer.size, [this](Result<std::unique_ptr<http::BodyReader>> body) {
                             if (body) return vouch(std::move(*body));
                             if (failed_) end(*failed_);
                           });
  }

  void vouch(std::unique_ptr<http::BodyReader> body) {
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
    response.total = word_.answer.size;
    response.body_range = {0, word_.answer.size};
    response.member = word_.member;
    response.checked_at = word_.answer.checked_at;
    response.authenticated = word_.answer.rights != peers::Rights::open;
    response.body = std::move(body);
    end(std::move(response));
  }

  // Only where nothing is known: what upstream said to this node counts more.
  void learn(const std::string& repository) {
    const auto kept = site_.catalog_.repository(repository);
    if (kept && kept->repository_class != RepositoryClass::unknown) return;
    site_.catalog_.put_repository(repository,
                                  {class_of(word_.answer.rights), unix_seconds(site_.loop_.wall_now())});
  }

  void end(Result<upstream::FetchResponse> result) {
    asking_.reset();
    patience_.reset();
    recalling_.reset();
    answer(std::move(result));
  }
  void on_cancel() noexcept override {
    asking_.reset();
    patience_.reset();
    recalling_.reset();
  }

  SiteFetcher& site_;
  upstream::FetchRequest request_;
  std::optional<Error> failed_;
  SiteMemory::Word word_;
  bool is_recalling_ = false, has_recalled_ = false;
  Ticket asking_, patience_, recalling_;
};

bool SiteFetcher::may_recall(const upstream::FetchRequest& request) const {
  if (!memory_ || request.target->as.who == Who::client) return false;
  if (request.kind == upstream::Kind::blob) return request.head_only;
  if (request.kind != upstream::Kind::manifest) return false;
  if (Digest::parse(request.reference)) return true;
  return tags_ && !catalog_.tag(request.target->key(), request.reference);
}

Ticket SiteFetcher::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  if (!may_recall(request)) return upstream_.fetch(std::move(request), std::move(done));
  auto call = std::make_shared<Call>(*this, std::move(request), std::move(done));
  call->start();
  return Ticket(call);
}

}  // namespace layerd::proxy
