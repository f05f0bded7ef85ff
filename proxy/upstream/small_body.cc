#include "proxy/upstream/small_body.h"

#include <algorithm>
#include <utility>

namespace layerd::upstream {
namespace {

class SmallBodyRead final : public Pending<SmallBody> {
 public:
  SmallBodyRead(std::unique_ptr<http::BodyReader> body, std::size_t limit, Done<SmallBody> done)
      : Pending<SmallBody>(std::move(done)), body_(std::move(body)), limit_(limit) {}

  void read_on() {
    pending_ = body_->read(http::kMostBodyRead, [this](Result<Bytes> chunk) { take(std::move(chunk)); });
  }

 private:
  void take(Result<Bytes> chunk) {
    if (!chunk) return answer(std::move(chunk).error());
    if (chunk->empty()) return answer(SmallBody{std::move(text_), true});
    text_.append(chunk->data(), std::min(chunk->size(), limit_ + 1 - text_.size()));
    if (text_.size() <= limit_) return read_on();
    text_.resize(limit_);
    answer(SmallBody{std::move(text_), false});
  }
  void on_cancel() noexcept override {
    pending_.reset();
    body_.reset();
  }

  std::unique_ptr<http::BodyReader> body_;
  std::size_t limit_;
  std::string text_;
  Ticket pending_;
};

}  // namespace

Ticket read_small_body(std::unique_ptr<http::BodyReader> body, std::size_t limit, Done<SmallBody> done) {
  auto read = std::make_shared<SmallBodyRead>(std::move(body), limit, std::move(done));
  read->read_on();
  return Ticket(read);
}

}  // namespace layerd::upstream
