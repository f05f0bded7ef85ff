// CountedBody: a body whose bytes are counted, with bytes in front that were read ahead already.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "proxy/http/client.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::upstream {

class CountedBody final : public http::BodyReader {
 public:
  CountedBody(Loop& loop, Counter& counter, std::unique_ptr<http::BodyReader> rest)
      : loop_(loop), counter_(counter), length_(rest->length()), rest_(std::move(rest)) {}

  // `bytes` were read ahead: the next read answers all of them. An empty one is the end, which was read.
  void put_back(Bytes bytes) {
    ahead_ = std::move(bytes);
    has_ahead_ = true;
  }
  Ticket read(std::size_t max, Done<Bytes> done) override {
    if (std::exchange(has_ahead_, false))
      return loop_.post(
          [bytes = std::move(ahead_), done = std::move(done)]() mutable { done(std::move(bytes)); });
    return rest_->read(max, [&counter = counter_, done = std::move(done)](Result<Bytes> bytes) mutable {
      if (bytes) counter.add(bytes->size());
      done(std::move(bytes));
    });
  }
  std::optional<ByteCount> length() const override { return length_; }

 private:
  Loop& loop_;
  Counter& counter_;
  std::optional<ByteCount> length_;
  std::unique_ptr<http::BodyReader> rest_;
  Bytes ahead_;
  bool has_ahead_ = false;
};

}  // namespace layerd::upstream
