#include "runtime/uv_loop.h"

#include <string>
#include <thread>

#include "runtime/budget.h"
#include "runtime/workers.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace std::chrono_literals;

TEST_CASE("a posted task runs later, in order, and not once its ticket is dropped") {
  UvLoop loop;
  std::string order;
  auto first = loop.post([&] { order += 'a'; });
  auto second = loop.post([&] { order += 'b'; });
  auto third = loop.post([&] {
    order += 'c';
    loop.stop();
  });
  CHECK(order.empty());
  second.reset();
  loop.run();
  CHECK(order == "ac");
}

TEST_CASE("a posted task may drop the ticket of the next one") {
  UvLoop loop;
  bool ran = false;
  Ticket victim;
  auto killer = loop.post([&] { victim.reset(); });
  victim = loop.post([&] { ran = true; });
  auto end = loop.post([&] { loop.stop(); });
  loop.run();
  CHECK_FALSE(ran);
}

TEST_CASE("a dropped timer never fires and a fired one is inert") {
  UvLoop loop;
  int fired = 0;
  auto keep = loop.after(1ms, "test", [&] { ++fired; });
  {
    auto dropped = loop.after(1ms, "test", [&] { fired += 100; });
  }
  auto end = loop.after(5ms, "test", [&] { loop.stop(); });
  CHECK(loop.ledger().size() == 3);  // the dropped one is there until libuv has closed it
  loop.run();
  CHECK(fired == 1);
  keep.reset();
}

TEST_CASE("worker jobs answer on the loop, and dropped ones are never heard of") {
  UvLoop loop;
  auto workers = std::make_unique<Workers>(loop, 2);
  const auto loop_thread = std::this_thread::get_id();
  int answered = 0;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 50; ++i)
    tickets.push_back(workers->run<int>(
        "test job", [i]() -> Result<int> { return i; },
        [&, i](Result<int> result) {
          CHECK(std::this_thread::get_id() == loop_thread);
          CHECK(*result == i);
          if (++answered == 25) loop.stop();
        }));
  for (int i = 0; i < 50; i += 2) tickets[static_cast<std::size_t>(i)].reset();
  loop.run();
  CHECK(answered == 25);
  workers.reset();
  loop.run_once(1ms);
}

TEST_CASE("a detached job runs even when the pool is being destroyed") {
  UvLoop loop;
  std::atomic<int> ran{0};
  {
    Workers workers(loop, 1);
    for (int i = 0; i < 20; ++i) workers.run_detached([&] { ++ran; });
  }
  CHECK(ran == 20);
}

TEST_CASE("the buffer budget answers askers in line as leases come back") {
  UvLoop loop;
  BufferBudget budget(loop, 100);
  auto first = budget.try_take(80);
  REQUIRE(first);
  CHECK_FALSE(budget.try_take(30));
  std::string order;
  BufferBudget::Lease held;
  auto big = budget.take(60, [&](Result<BufferBudget::Lease> lease) {
    order += 'b';
    held = std::move(*lease);
  });
  auto gone = budget.take(10, [&](Result<BufferBudget::Lease>) { order += 'x'; });
  auto small = budget.take(10, [&](Result<BufferBudget::Lease>) { order += 's'; });
  gone.reset();
  loop.run_once(1ms);
  CHECK(order.empty());  // the small one does not overtake
  first.reset();
  loop.run_once(1ms);
  loop.run_once(1ms);
  CHECK(order == "bs");
  CHECK(budget.in_use() == 60);
}
