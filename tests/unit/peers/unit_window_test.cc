// How many units of a blob come at a time.
#include "proxy/peers/unit_window.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

// A path that brings so many bytes per second with so many units at a time.
template <class Rate>
std::size_t window_after(UnitWindow& window, Duration time, Rate rate) {
  TimePoint now{1h};
  double received = 0;
  for (const auto end = now + time; now < end; now += 50ms) {
    received += static_cast<double>(rate(window.size())) * 0.05;
    window.tick(now, static_cast<ByteCount>(received), window.size(), 1'000);
  }
  return window.size();
}

}  // namespace

TEST_CASE("the window of units grows while throughput grows") {
  UnitWindow window;
  CHECK(window.size() == 8);
  // Each unit has its 20 MiB a second, as over a long way.
  const auto each = [](std::size_t units) { return 20_MiB * units; };
  CHECK(window_after(window, 1500ms, each) == 16);
  UnitWindow longer;
  CHECK(window_after(longer, 10s, each) == 32);
}

TEST_CASE("the window goes back to where more units stopped bringing more") {
  const auto full_at = [](std::size_t most) {
    return [most](std::size_t units) { return 20_MiB * std::min(units, most); };
  };
  UnitWindow eight;
  CHECK(window_after(eight, 20s, full_at(8)) == 8);
  UnitWindow sixteen;
  CHECK(window_after(sixteen, 20s, full_at(16)) == 16);
}

TEST_CASE("a window that is half a second ahead is enough") {
  UnitWindow window;
  CHECK(window_after(window, 10s, [](std::size_t units) { return 10_MiB * units; }) == 8);
}

TEST_CASE("a window that is not used up does not grow") {
  UnitWindow window;
  TimePoint now{1h};
  for (int i = 0; i < 200; ++i) window.tick(now += 50ms, ByteCount(i) * 1_MiB, 3, 1'000);
  CHECK(window.size() == 8);
}

TEST_CASE("the window does not grow where nothing comes, nor beyond what is left") {
  UnitWindow idle;
  TimePoint now{1h};
  for (int i = 0; i < 200; ++i) idle.tick(now += 50ms, 0, 8, 1'000);
  CHECK(idle.size() == 8);
  UnitWindow small;
  for (int i = 1; i < 200; ++i) small.tick(now += 50ms, ByteCount(i) * 1_MiB, 6, 6);
  CHECK(small.size() == 8);
}
