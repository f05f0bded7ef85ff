#include "proxy/peers/watchdog.h"

#include "proxy/peers/review.h"
#include "proxy/peers/share.h"

namespace layerd::peers {

Watchdog::Watchdog(SiteParts& parts) : parts_(parts) {
  parts_.streams.set_wake([this] { wake(); });
}

void Watchdog::wake() {
  if (runs_) return;
  runs_ = true;
  timer_ = parts_.loop.after(parts_.settings.watch, "peers: watchdog", [this] { tick(); });
}

void Watchdog::tick() {
  runs_ = false;
  const auto now = parts_.now();
  const auto streams = parts_.streams.all();
  double best = 0, second = 0;  // of the streams that are old enough to be measured
  for (const auto& stream : streams) {
    if (!stream->is_open() || now - stream->began() < parts_.settings.watch) continue;
    const double rate = stream->rate(now);
    second = std::max(second, std::min(best, rate));
    best = std::max(best, rate);
  }
  const double fair = parts_.speeds.best_of_all() / static_cast<double>(std::max<std::size_t>(running(), 1));
  for (const auto& stream : streams) {
    if (!stream->is_open() || stream->is_left() || stream->missing() == 0) continue;
    // Compared with the best of the others.
    look(stream, {stream->rate(now) == best ? second : best, fair});
  }
  if (!streams.empty()) wake();
}

// Units that are on their way, from members or upstream.
std::size_t Watchdog::running() const {
  std::size_t count = 0;
  for (const auto* share : parts_.shares)
    for (const auto& [number, part] : share->units()) count += part.began != TimePoint{};
  return count;
}

void Watchdog::look(const std::shared_ptr<UnitStream>& stream, Rates rates) {
  const auto now = parts_.now();
  const auto& settings = parts_.settings;
  auto& watch = stream->watch;
  if (watch.step == Duration::zero()) {
    watch.step = settings.review_first;
    watch.next = stream->began() + watch.step;
    watch.suspect_step = settings.watch;
  }
  const double rate = std::max(1.0, stream->rate(now));
  const double median = parts_.speeds.median();
  const std::chrono::duration<double> age = now - stream->began();
  const double left = static_cast<double>(stream->missing()) / rate;
  if (age < settings.watch || left < 1) return;
  Suspicion suspicion;
  suspicion.expected = std::max({median, rates.best_other, rates.fair});
  suspicion.is_slow = rate * settings.faster < suspicion.expected;
  // What our streams bring one by one at present: where all are slow, it is not this root.
  const double others = parts_.speeds.present(now) / static_cast<double>(std::max<std::size_t>(running(), 1));
  const double usual = std::min(median, others);
  // Another way to upstream is of no use where our own link is full, or what we ask upstream for comes no
  // faster.
  const bool has_room = parts_.speeds.present(now) < parts_.speeds.best_of_all() / 2 &&
                        !parts_.speeds.upstream_brings_less(settings.faster * rate, now);
  suspicion.needs_root = has_room && usual > 0 && rate * settings.faster < usual &&
                         age.count() > std::max(3.0, 2 * static_cast<double>(stream->range().size()) / usual);
  if (suspicion.needs_root) suspicion.expected = usual;
  // A root may say what it likes of itself: what brings next to nothing for so long is not waited for.
  constexpr double kDrip = 64;
  if (age.count() > 30 && rate * kDrip < suspicion.expected) suspicion.needs_root = true;
  const bool is_stalled = stream->is_awaited() && now - stream->last_byte() >= settings.stalled;
  const bool is_due = now >= watch.next;
  const bool is_suspect = (suspicion.is_slow || is_stalled) && now >= watch.next_suspect;
  if (!is_due && !is_suspect) return;
  if (is_due) {
    watch.step *= 3;
    watch.next = now + watch.step;
  }
  watch.next_suspect = now + watch.suspect_step;
  watch.suspect_step = std::min(watch.suspect_step * 2, 8 * settings.watch);
  watch.review = start_review(parts_, *stream, suspicion);
}

}  // namespace layerd::peers
