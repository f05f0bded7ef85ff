// CountedBody: a body whose bytes are counted and kept to the limit of all downloads, with bytes in front
// that were read ahead already. Loop thread.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "proxy/http/client.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/rate_limit.h"

namespace layerd::upstream {

class CountedBody final : public http::BodyReader {
 public:
  // limit: outlives this. reader: bodies of one object share one place in its line.
  CountedBody(Loop& loop, Counter& counter, RateLimit& limit, std::size_t reader,
              std::unique_ptr<http::BodyReader> rest)
      : loop_(loop),
        counter_(counter),
        limit_(limit),
        reader_(reader),
        length_(rest->length()),
        rest_(std::move(rest)) {}
  ~CountedBody() override {
    if (limited_) limited_->cancel();
  }

  // `bytes` were read ahead: the next read answers all of them. An empty one is the end, which was read.
  void put_back(Bytes bytes) {
    ahead_ = std::move(bytes);
    has_ahead_ = true;
  }
  Ticket read(std::size_t max, Done<Bytes> done) override {
    if (std::exchange(has_ahead_, false))
      return loop_.post(
          [bytes = std::move(ahead_), done = std::move(done)]() mutable { done(std::move(bytes)); });
    if (!limit_.is_on())
      return rest_->read(max, [&counter = counter_, done = std::move(done)](Result<Bytes> bytes) mutable {
        if (bytes) counter.add(bytes->size());
        done(std::move(bytes));
      });
    return read_limited(max, std::move(done));
  }
  std::optional<ByteCount> length() const override { return length_; }

 private:
  // A read that first waits for its share. The body below is not read meanwhile, nor its time-out begun.
  struct Limited final : Pending<Bytes> {
    using Pending::Pending;
    void on_cancel() noexcept override { step.reset(); }
    Ticket step;  // the share, then the read
  };

  Ticket read_limited(std::size_t max, Done<Bytes> done) {
    limited_ = std::make_shared<Limited>(std::move(done));
    // `this` is safe: our destructor takes both calls back.
    limited_->step = limit_.take(reader_, max, [this](Result<std::size_t> granted) {
      limited_->step = rest_->read(*granted, [this, size = *granted](Result<Bytes> bytes) {
        limit_.give_back(bytes ? size - std::min(size, bytes->size()) : size);
        if (bytes) counter_.add(bytes->size());
        const auto limited = limited_;
        limited->answer(std::move(bytes));
      });
    });
    return Ticket(limited_);
  }

  Loop& loop_;
  Counter& counter_;
  RateLimit& limit_;
  const std::size_t reader_;
  std::optional<ByteCount> length_;
  std::unique_ptr<http::BodyReader> rest_;
  Bytes ahead_;
  bool has_ahead_ = false;
  std::shared_ptr<Limited> limited_;  // the last one; may have answered
};

}  // namespace layerd::upstream
