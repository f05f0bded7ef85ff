#include "proxy/whole_body.h"

#include <fmt/core.h>

namespace layerd::proxy {
namespace {

// A read of unknown length takes the whole bound from the budget.
class WholeBody final : public Pending<SmallBody> {
 public:
  WholeBody(Loop& loop, BufferBudget& buffers, std::unique_ptr<http::BodyReader> body, Done<SmallBody> done)
      : Pending(std::move(done)), loop_(loop), buffers_(buffers), body_(std::move(body)) {}

  void start(Deadline deadline) {
    const auto length = body_->length();
    if (length && *length > kMostSmallBody) {
      pending_ = loop_.post([this] { fail_as_too_large(); });
      return;
    }
    deadline_ = loop_.at(deadline, "small body", [this] {
      finish(Error{Errc::upstream_timeout,
                   fmt::format("the upstream's answer of {} bytes so far did not end in time",
                               content_.bytes.size())});
    });
    const ByteCount share = length.value_or(kMostSmallBody);
    if (share == 0) return read_on();
    pending_ = buffers_.take(share, [this](Result<BufferBudget::Lease> lease) {
      if (!lease) return finish(std::move(lease).error());
      content_.lease = std::move(*lease);
      read_on();
    });
  }

 private:
  void on_cancel() noexcept override {
    pending_.reset();
    deadline_.reset();
    body_.reset();
  }

  void read_on() {
    pending_ = body_->read(http::kMostBodyRead, [this](Result<Bytes> chunk) {
      if (!chunk) return finish(std::move(chunk).error());
      if (chunk->empty()) return finish(std::move(content_));
      if (content_.bytes.size() + chunk->size() > kMostSmallBody) return fail_as_too_large();
      content_.bytes.append(chunk->view());
      read_on();
    });
  }

  void fail_as_too_large() {
    finish(
        Error{Errc::upstream_protocol,
              fmt::format("the upstream's answer is larger than {} bytes, the bound for manifests and lists",
                          kMostSmallBody)});
  }

  void finish(Result<SmallBody> result) {
    deadline_.reset();
    body_.reset();
    answer(std::move(result));
  }

  Loop& loop_;
  BufferBudget& buffers_;
  std::unique_ptr<http::BodyReader> body_;
  SmallBody content_;
  Ticket pending_, deadline_;
};

}  // namespace

Ticket read_whole(Loop& loop, BufferBudget& buffers, std::unique_ptr<http::BodyReader> body,
                  Deadline deadline, Done<SmallBody> done) {
  auto whole = std::make_shared<WholeBody>(loop, buffers, std::move(body), std::move(done));
  whole->start(deadline);
  return Ticket(whole);
}

}  // namespace layerd::proxy
