// The token bucket that all downloads share.
#include "runtime/rate_limit.h"

#include <array>

#include "tests/support/catch.h"
#include "tests/support/virtual_loop.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

// Reads as much as it may, again and again.
struct Reader {
  Reader(RateLimit& limit_, std::size_t most_, std::size_t name_ = 0) : limit(limit_), most(most_) {
    static std::size_t others = 100;
    name = name_ != 0 ? name_ : ++others;
    next();
  }
  void next() {
    ticket = limit.take(name, most, [this](Result<std::size_t> granted) {
      largest = std::max(largest, *granted);
      total += *granted;
      next();
    });
  }
  RateLimit& limit;
  std::size_t most, total = 0, largest = 0, name = 0;
  Ticket ticket;
};

}  // namespace

TEST_CASE("the rate holds over all readers, and each gets the same") {
  VirtualLoop loop;
  RateLimit limit(loop, 1'000'000);
  std::array<std::optional<Reader>, 4> readers;
  for (std::size_t i = 0; i < readers.size(); ++i) readers[i].emplace(limit, i == 0 ? 1u << 20 : 64u << 10);
  loop.advance(10s);
  std::size_t all = 0;
  for (auto& reader : readers) {
    all += reader->total;
    CHECK(reader->largest <= limit.share());
    CHECK(reader->total > 2'400'000);
    CHECK(reader->total < 2'700'000);
  }
  CHECK(all > 9'800'000);
  CHECK(all < 10'300'000);
}

TEST_CASE("who reads one thing in several streams gets no more than who reads it in one") {
  VirtualLoop loop;
  RateLimit limit(loop, 1'000'000);
  Reader one(limit, 64u << 10, 1), two(limit, 64u << 10, 2), more(limit, 64u << 10, 2),
      still(limit, 64u << 10, 2);
  loop.advance(10s);
  CHECK(one.total > 4'700'000);
  CHECK(two.total + more.total + still.total > 4'700'000);
}

TEST_CASE("a reader that leaves gives its part to the others") {
  VirtualLoop loop;
  RateLimit limit(loop, 1'000'000);
  std::optional<Reader> first, second;
  first.emplace(limit, 64u << 10);
  second.emplace(limit, 64u << 10);
  loop.advance(1s);
  first.reset();
  const auto before = second->total;
  loop.advance(4s);
  CHECK(second->total - before > 3'800'000);
}

TEST_CASE("what was granted and not read is given back") {
  VirtualLoop loop;
  RateLimit limit(loop, 1'000'000);
  std::size_t read = 0;
  Ticket ticket;
  std::function<void()> next = [&] {
    ticket = limit.take(1, 64u << 10, [&](Result<std::size_t> granted) {
      limit.give_back(*granted - 1000);  // a slow upstream
      read += 1000;
      next();
    });
  };
  next();
  loop.advance(2s);
  ticket.reset();
  CHECK(read > 1'900'000);
}

TEST_CASE("nothing is saved up while nobody reads") {
  VirtualLoop loop;
  RateLimit limit(loop, 1'000'000);
  loop.advance(60s);
  Reader reader(limit, 64u << 10);
  loop.advance(1s);
  CHECK(reader.total < 1'300'000);
}

TEST_CASE("a limit that is taken away lets everybody in line go on at once") {
  VirtualLoop loop;
  RateLimit limit(loop, 125'000);
  std::size_t granted = 0;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 100; ++i)
    tickets.push_back(limit.take(static_cast<std::size_t>(i), 64u << 10,
                                 [&](Result<std::size_t> size) { granted += *size; }));
  loop.run();
  CHECK(limit.waiting() > 90);
  limit.set(0);
  loop.run();
  CHECK(limit.waiting() == 0);
  CHECK(granted > 90 * (64u << 10));
  CHECK(loop.timers() == 0);
}
