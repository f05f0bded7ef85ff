// Counters, gauges and histograms. A metric cannot exist without a sentence that says what it
// counts. Updates from any thread (relaxed atomics); registration on the loop thread at start.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/callback.h"

namespace layerd {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(std::int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);

 private:
  friend class Metrics;
  std::vector<double> bounds_;
  std::deque<std::atomic<std::uint64_t>> buckets_;
  std::atomic<std::uint64_t> count_{0};
  std::atomic<double> sum_{0};
};

// The registry of one process (one per test). References stay valid for its life.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  // Name: layerd_<noun>_<unit>[_total]. The same name and labels give the same object; the
  // sentence of the first registration counts.
  Counter& counter(std::string_view name, std::string_view sentence, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view sentence, const Labels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view sentence, std::vector<double> bounds,
                       const Labels& labels = {});
  // A gauge that is asked when the text is written. Loop thread.
  void gauge_from(std::string_view name, std::string_view sentence, Callback<double()> value);

  // Prometheus text exposition format 0.0.4.
  std::string text();
  // Sum over all label sets of a counter or gauge; 0 if it does not exist. For status and tests.
  std::uint64_t total(std::string_view name) const;

 private:
  struct Family;
  Family& family(std::string_view name, std::string_view sentence, std::string_view type);
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;

 public:
  Metrics();
  ~Metrics();
};

}  // namespace layerd
