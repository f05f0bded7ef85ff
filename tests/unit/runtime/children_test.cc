// Real processes, run by a real loop.
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>

#include "runtime/uv_children.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace std::chrono_literals;
using How = ChildEnd::How;

namespace {

struct Bench {
  UvLoop loop;
  std::optional<UvChildren> children{std::in_place, loop};
  ~Bench() {
    children.reset();
    loop.close();
  }
  ChildCommand shell(std::string script, std::string input = {}) {
    ChildCommand command;
    command.arguments = {"sh", "-c", std::move(script)};
    command.environment = {"PATH=/usr/bin:/bin", "ONLY=this"};
    command.input = std::move(input);
    return command;
  }
  bool until(const std::function<bool()>& is_so) {
    const auto limit = std::chrono::steady_clock::now() + 10s;
    while (!is_so()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      loop.run_once(10ms);
    }
    return true;
  }
  Result<ChildEnd> run(ChildCommand command) {
    std::optional<Result<ChildEnd>> end;
    auto ticket =
        children->run(std::move(command), [&](Result<ChildEnd> told) { end.emplace(std::move(told)); });
    CHECK_FALSE(end);
    REQUIRE(until([&] { return end.has_value(); }));
    return std::move(*end);
  }
};

}  // namespace

TEST_CASE("a child gets its input and environment and nothing else, and its output comes back") {
  Bench bench;
  ::setenv("LAYERD_TEST_SECRET", "s3cret", 1);
  const auto end = bench.run(
      bench.shell("read line; echo \"$line $ONLY $LAYERD_TEST_SECRET.\"; echo noise >&2; exit 3", "hello\n"));
  REQUIRE(end);
  CHECK(end->how == How::exited);
  CHECK(end->status == 3);
  CHECK(end->output == "hello this .\n");
  CHECK(bench.until([&] { return bench.children->running() == 0; }));
}

TEST_CASE("input that nobody reads and large output are no trouble") {
  Bench bench;
  const auto end = bench.run(bench.shell("exec head -c 200000 /dev/zero", std::string(1 << 20, 'x')));
  REQUIRE(end);
  CHECK(end->output.size() == 200000);
  CHECK(end->status == 0);
}

TEST_CASE("a program that is not there is told as such") {
  Bench bench;
  ChildCommand command;
  command.arguments = {"layerd-no-such-program"};
  command.environment = {"PATH=/usr/bin:/bin"};
  const auto end = bench.run(std::move(command));
  REQUIRE_FALSE(end);
  CHECK(end.error().code == Errc::not_found);
  CHECK(end.error().message.find("layerd-no-such-program") != std::string::npos);
}

TEST_CASE("a child that hangs is killed with what it started, one that talks without end too") {
  Bench bench;
  auto hanging = bench.shell("sleep 100 & sleep 100");
  hanging.limit = 100ms;
  const auto begun = std::chrono::steady_clock::now();
  const auto hung = bench.run(std::move(hanging));
  REQUIRE(hung);
  CHECK(hung->how == How::took_too_long);
  auto talking = bench.shell("exec cat /dev/zero");
  talking.most_output = 10000;
  const auto talked = bench.run(std::move(talking));
  REQUIRE(talked);
  CHECK(talked->how == How::said_too_much);
  CHECK(talked->output.empty());
  CHECK(bench.until([&] { return bench.children->running() == 0; }));
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
}

TEST_CASE("what a child leaves behind does not hold up its answer") {
  Bench bench;
  const auto end = bench.run(bench.shell("sleep 2 & echo answer"));
  REQUIRE(end);
  CHECK(end->how == How::exited);
  CHECK(end->output == "answer\n");
}

TEST_CASE("a child ended by a signal is told with it") {
  Bench bench;
  const auto end = bench.run(bench.shell("kill -TERM $$"));
  REQUIRE(end);
  CHECK(end->how == How::by_signal);
  CHECK(end->signal == 15);
}

TEST_CASE("dropping the ticket kills the child and calls nobody") {
  Bench bench;
  bool called = false;
  auto ticket = bench.children->run(bench.shell("sleep 100"), [&](Result<ChildEnd>) { called = true; });
  bench.loop.run_once(20ms);
  ticket.reset();
  CHECK(bench.until([&] { return bench.children->running() == 0; }));
  CHECK_FALSE(called);
}

TEST_CASE("children that still run are killed with their owner, their callbacks never come") {
  Bench bench;
  bool called = false;
  auto first = bench.children->run(bench.shell("sleep 100"), [&](Result<ChildEnd>) { called = true; });
  auto second = bench.children->run(bench.shell("sleep 100"), [&](Result<ChildEnd>) { called = true; });
  bench.loop.run_once(20ms);
  bench.children.reset();
  bench.loop.run_once(20ms);
  CHECK_FALSE(called);
}
