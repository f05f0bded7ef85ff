// Small bodies and the process's buffers: what they hold, and what is left for downloads.
#include "proxy/whole_body.h"

#include <deque>

#include "tests/support/catch.h"
#include "tests/support/virtual_loop.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

// Brings so many bytes, then ends or falls silent.
class SomeBytes final : public http::BodyReader {
 public:
  SomeBytes(Loop& loop, ByteCount bytes, bool ends, bool tells = false)
      : loop_(loop), all_(bytes), ends_(ends), tells_(tells) {}
  std::optional<ByteCount> length() const override {
    return tells_ ? std::optional<ByteCount>(all_) : std::nullopt;
  }
  Ticket read(std::size_t max, Done<Bytes> done) override {
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    held_ = call;
    const auto count = std::min<ByteCount>(max, all_ - given_);
    if (count == 0 && !ends_) return Ticket(call);
    given_ += count;
    loop_.post_detached(
        [call, count] { call->answer(Bytes::copy_of(std::string(static_cast<std::size_t>(count), 'x'))); });
    return Ticket(call);
  }

 private:
  Loop& loop_;
  const ByteCount all_;
  const bool ends_, tells_;
  ByteCount given_ = 0;
  std::shared_ptr<Pending<Bytes>> held_;
};

struct Reads {
  using Outcome = std::optional<Result<proxy::SmallBody>>;
  VirtualLoop loop;
  BufferBudget buffers{loop, 16_MiB};
  proxy::SmallBodyBudget budget{loop, buffers};
  std::deque<Outcome> outcomes;
  std::vector<Ticket> tickets;

  Outcome& read(ByteCount bytes, bool ends, bool tells = false) {
    Outcome& outcome = outcomes.emplace_back();
    tickets.push_back(proxy::read_whole(loop, budget, std::make_unique<SomeBytes>(loop, bytes, ends, tells),
                                        Deadline::in(loop.now(), 120s),
                                        [&](Result<proxy::SmallBody> body) { outcome = std::move(body); }));
    loop.run();
    return outcome;
  }
};

}  // namespace

// Red when the whole share is leased at the first byte: four of them would hold everything.
TEST_CASE("dripping small bodies hold what has come of them and leave the downloads their buffers") {
  Reads reads;
  for (int i = 0; i < 40; ++i) reads.read(100, false);
  CHECK(reads.buffers.in_use() == 40 * 64_KiB);
  CHECK(reads.buffers.try_take(8_MiB));
  reads.loop.advance(121s);
  for (const auto& outcome : reads.outcomes) CHECK((*outcome).error().code == Errc::upstream_timeout);
  CHECK(reads.buffers.in_use() == 0);
}

// Red without the share of their own, and if two that wait for more of it wait for each other.
TEST_CASE("small bodies that fill their share are refused at once, and half of the buffers stays free") {
  Reads reads;
  for (int i = 0; i < 12; ++i) reads.read(4_MiB - 1, false);
  std::size_t refused = 0;
  for (const auto& outcome : reads.outcomes)
    refused += outcome && (*outcome).error().code == Errc::overloaded ? 1 : 0;
  CHECK(refused == 10);
  CHECK(reads.buffers.in_use() == 8_MiB);
  CHECK(reads.buffers.try_take(8_MiB));
  reads.tickets.clear();
  CHECK(reads.buffers.in_use() == 0);
  CHECK(reads.read(100, true));
}

TEST_CASE("a small body waits for a buffer behind the downloads") {
  Reads reads;
  auto downloads = reads.buffers.try_take(16_MiB);
  auto& body = reads.read(100_KiB, true);
  CHECK_FALSE(body);
  downloads.reset();
  reads.loop.run();
  REQUIRE(body);
  CHECK((*body)->bytes.size() == 100_KiB);
}

TEST_CASE("a small body of every size up to its bound comes whole, one byte more is refused") {
  for (const bool tells : {true, false}) {
    for (const ByteCount size : {ByteCount{0}, ByteCount{1}, 64_KiB, 64_KiB + 1, 4_MiB}) {
      INFO(size);
      Reads reads;
      auto& body = reads.read(size, true, tells);
      REQUIRE(body);
      REQUIRE(*body);
      CHECK((*body)->bytes.size() == size);
      if (tells) CHECK(reads.buffers.in_use() == size);
      body.reset();
      CHECK(reads.buffers.in_use() == 0);
    }
    Reads reads;
    auto& body = reads.read(4_MiB + 1, true, tells);
    REQUIRE(body);
    CHECK((*body).error().code == Errc::upstream_protocol);
  }
}
