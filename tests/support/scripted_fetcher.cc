#include "tests/support/scripted_fetcher.h"

#include <algorithm>

namespace layerd::test {

namespace {

class ScriptedBody final : public http::BodyReader {
 public:
  ScriptedBody(Loop& loop, std::shared_ptr<ScriptedFetcher::State> state, std::string host, ByteRange range,
               bool with_length)
      : loop_(loop),
        state_(std::move(state)),
        host_(std::move(host)),
        range_(range),
        with_length_(with_length) {
    state_->most_bodies_open = std::max(state_->most_bodies_open, ++state_->bodies_open);
  }
  ~ScriptedBody() override { --state_->bodies_open; }

  std::optional<ByteCount> length() const override {
    return with_length_ ? std::optional(range_.size()) : std::nullopt;
  }

  Ticket read(std::size_t max, Done<Bytes> done) override {
    Script& script = state_->scripts[host_];
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    if (script.stall_after && given_ >= *script.stall_after && script.stalls > 0) {
      if (!stalled_ && script.stalls != ~0u) --script.stalls;
      stalled_ = true;
      held_ = call;
      return Ticket(call);
    }
    auto next = std::make_shared<Result<Bytes>>(next_chunk(script, max));
    if (script.chunk_after == Duration::zero()) {
      loop_.post_detached([call, next] { call->answer(std::move(*next)); });
    } else {
      timer_ =
          loop_.after(script.chunk_after, "scripted chunk", [call, next] { call->answer(std::move(*next)); });
    }
    return Ticket(call);
  }

 private:
  Result<Bytes> next_chunk(Script& script, std::size_t max) {
    if (script.cut_after && given_ >= *script.cut_after && script.cuts > 0) {
      if (script.cuts != ~0u) --script.cuts;
      if (!with_length_) return Bytes();  // nobody can tell a cut from an end
      return Error{Errc::truncated, host_ + " broke the body off"};
    }
    const ByteCount held = script.content.size();
    const ByteCount at = range_.first + given_;
    ByteCount count = std::min({script.chunk, ByteCount{max}, range_.end - std::min(at, range_.end)});
    count = std::min(count, held - std::min(at, held));
    if (script.cut_after && script.cuts > 0) count = std::min(count, *script.cut_after - given_);
    if (script.stall_after && script.stalls > 0) count = std::min(count, *script.stall_after - given_);
    if (count == 0 && with_length_ && at < range_.end) return Error{Errc::truncated, host_ + " ended early"};
    given_ += count;
    state_->bytes_out += count;
    return Bytes::copy_of(ByteView(script.content).substr(std::min(at, held), count));
  }

  Loop& loop_;
  std::shared_ptr<ScriptedFetcher::State> state_;
  std::string host_;
  ByteRange range_;
  bool with_length_;
  ByteCount given_ = 0;
  bool stalled_ = false;
  std::shared_ptr<Pending<Bytes>> held_;
  Ticket timer_;
};

}  // namespace

// One fetch over the endpoints of a target, in order.
struct ScriptedFetcher::Call final : Pending<upstream::FetchResponse> {
  Call(Done<upstream::FetchResponse> done, Loop& l, std::shared_ptr<State> s, upstream::FetchRequest r)
      : Pending(std::move(done)), loop(l), state(std::move(s)), request(std::move(r)) {}
  void on_cancel() noexcept override { timer.reset(); }

  void ask() {
    const auto& endpoints = request.target->endpoints;
    const std::size_t index = (request.first_endpoint + tried) % endpoints.size();
    const std::string host = endpoints[index].base.host;
    Script& script = state->scripts[host];
    state->asked.push_back({host, request.range, request.head_only});
    if (script.never_answers) {
      timer = loop.at(request.deadline, "scripted deadline", [this] {
        answer(Error{Errc::upstream_timeout, "no answer before the deadline"});
      });
      return;
    }
    timer = loop.after(script.head_after, "scripted head", [this, index, host] { head(index, host); });
  }

  void next_or(Error error) {
    worst = worst && worst->code != Errc::not_found ? *worst : error;
    ++tried;
    if (request.only_first_endpoint || tried >= request.target->endpoints.size()) return answer(*worst);
    ask();
  }

  void head(std::size_t index, const std::string& host) {
    Script& script = state->scripts[host];
    if (script.error && script.errors > 0) {
      if (script.errors != ~0u) --script.errors;
      return next_or(*script.error);
    }
    ByteCount total = script.claims.value_or(script.content.size());
    if (request.head_only) total = script.head_claims.value_or(total);
    ByteRange range{0, total};
    upstream::FetchResponse response;
    const bool partial = request.range && script.ranges;
    if (partial) {
      range = {request.range->first, std::min(request.range->end, total)};
      if (range.first >= total)
        return next_or({Errc::range_unsatisfiable, host + " has no such range", 0, 416});
    }
    response.status = partial ? 206 : 200;
    response.endpoint = index;
    response.endpoint_name = "https://" + host;
    response.ranges_supported = script.ranges;
    const bool told = request.head_only ? script.head_length : script.length;
    if (told) response.total = total;
    response.body_range = told || partial ? range : ByteRange{0, upstream::kOpenEnd};
    if (request.head_only) range.end = range.first;
    response.body = std::make_unique<ScriptedBody>(loop, state, host, range, told);
    answer(std::move(response));
  }

  Loop& loop;
  std::shared_ptr<State> state;
  upstream::FetchRequest request;
  std::size_t tried = 0;
  std::optional<Error> worst;
  Ticket timer;
};

Ticket ScriptedFetcher::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  auto call = std::make_shared<Call>(std::move(done), loop_, state_, std::move(request));
  call->ask();
  return Ticket(call);
}

registry::TargetPtr target_at(const std::vector<std::string>& hosts, const std::string& repository) {
  auto target = std::make_shared<registry::Target>();
  target->ns = target->registry = "registry.test";
  target->repository = repository;
  for (const std::string& host : hosts) {
    registry::Endpoint endpoint;
    endpoint.base.scheme = "https";
    endpoint.base.host = host;
    endpoint.base.path = "/v2";
    endpoint.repository = repository;
    endpoint.settings = std::make_shared<registry::HostSettings>();
    target->endpoints.push_back(std::move(endpoint));
  }
  return target;
}

}  // namespace layerd::test
