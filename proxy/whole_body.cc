#include "proxy/whole_body.h"

#include <fmt/core.h>

#include <algorithm>

namespace layerd::proxy {
namespace {

constexpr ByteCount kStep = 64_KiB;  // leased at a time: what an upstream holds back costs us no more

// Leases as the bytes come: who drips holds little.
class WholeBody final : public Pending<SmallBody> {
 public:
  WholeBody(Loop& loop, SmallBodyBudget& budget, std::unique_ptr<http::BodyReader> body, Done<SmallBody> done)
      : Pending(std::move(done)),
        loop_(loop),
        budget_(budget),
        body_(std::move(body)),
        most_(body_->length().value_or(kMostSmallBody)) {}

  void start(Deadline deadline) {
    deadline_ = loop_.at(deadline, "small body", [this] {
      finish(Error{Errc::upstream_timeout,
                   fmt::format("the upstream's answer of {} bytes so far did not end in time",
                               content_.bytes.size())});
    });
    pending_ = loop_.post([this] { most_ > kMostSmallBody ? fail_as_too_large() : read_on(); });
  }

 private:
  void on_cancel() noexcept override {
    pending_.reset();
    deadline_.reset();
    body_.reset();
  }

  void read_on() {
    const ByteCount room = leased_ - std::min<ByteCount>(leased_, content_.bytes.size());
    if (room == 0 && leased_ < most_) return lease(std::min(kStep, most_ - leased_));
    // Without room the end is due; one byte more tells that it is not.
    const auto max = static_cast<std::size_t>(std::clamp<ByteCount>(room, 1, http::kMostBodyRead));
    pending_ = body_->read(max, [this](Result<Bytes> chunk) {
      if (!chunk) return finish(std::move(chunk).error());
      if (chunk->empty()) return finish(std::move(content_));
      if (content_.bytes.size() + chunk->size() > kMostSmallBody) return fail_as_too_large();
      content_.bytes.append(chunk->view());
      read_on();
    });
  }

  // A share that is used up is an error and not a line to wait in: those who hold it may be waiting for
  // more of it themselves. The downloads, who hold the rest of the whole, wait for none of us.
  void lease(ByteCount step) {
    auto own = budget_.share.try_take(step);
    if (!own) return fail_as_overloaded();
    content_.leases.push_back(std::move(*own));
    pending_ = budget_.all.take(step, [this, step](Result<BufferBudget::Lease> lease) {
      if (!lease) return finish(std::move(lease).error());
      content_.leases.push_back(std::move(*lease));
      leased_ += step;
      read_on();
    });
  }

  void fail_as_too_large() {
    finish(
        Error{Errc::upstream_protocol,
              fmt::format("the upstream's answer is larger than {} bytes, the bound for manifests and lists",
                          kMostSmallBody)});
  }

  void fail_as_overloaded() {
    finish(Error{Errc::overloaded,
                 fmt::format("the manifests and lists that are in memory fill the {} bytes they may have; "
                             "ask again in a moment",
                             kSmallBodies)});
  }

  void finish(Result<SmallBody> result) {
    deadline_.reset();
    body_.reset();
    content_ = {};
    answer(std::move(result));
  }

  Loop& loop_;
  SmallBodyBudget& budget_;
  std::unique_ptr<http::BodyReader> body_;
  const ByteCount most_;  // what the upstream says it comes to, else the bound
  ByteCount leased_ = 0;
  SmallBody content_;
  Ticket pending_, deadline_;
};

}  // namespace

Ticket read_whole(Loop& loop, SmallBodyBudget& budget, std::unique_ptr<http::BodyReader> body,
                  Deadline deadline, Done<SmallBody> done) {
  auto whole = std::make_shared<WholeBody>(loop, budget, std::move(body), std::move(done));
  whole->start(deadline);
  return Ticket(whole);
}

}  // namespace layerd::proxy
