#include "runtime/metrics.h"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/check.h"

namespace layerd {
namespace {

// Label values: backslash, quote and newline are escaped (exposition format 0.0.4).
std::string label_text(const Metrics::Labels& labels, std::string_view extra = {}) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += text.empty() ? "" : ",";
    text += name + "=\"";
    for (char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n')
        text += "\\n";
      else
        text += c;
    }
    text += '"';
  }
  if (!extra.empty()) text += (text.empty() ? "" : ",") + std::string(extra);
  return text.empty() ? text : "{" + text + "}";
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
  for (std::size_t i = 0; i <= bounds_.size(); ++i) buckets_.emplace_back(0);
}

void Histogram::observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  buckets_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  double sum = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
  }
}

struct Metrics::Family {
  std::string type, sentence;
  std::map<std::string, std::pair<Labels, std::unique_ptr<Counter>>> counters;
  std::map<std::string, std::pair<Labels, std::unique_ptr<Gauge>>> gauges;
  std::map<std::string, std::pair<Labels, std::unique_ptr<Histogram>>> histograms;
  Callback<double()> ask;
};

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

Metrics::Family& Metrics::family(std::string_view name, std::string_view sentence, std::string_view type) {
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), std::make_unique<Family>()).first;
    found->second->type = type;
    found->second->sentence = sentence;
  }
  LAYERD_CHECK(found->second->type == type);
  return *found->second;
}

Counter& Metrics::counter(std::string_view name, std::string_view sentence, const Labels& labels) {
  auto& slot = family(name, sentence, "counter").counters[label_text(labels)];
  if (!slot.second) slot = {labels, std::make_unique<Counter>()};
  return *slot.second;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view sentence, const Labels& labels) {
  auto& slot = family(name, sentence, "gauge").gauges[label_text(labels)];
  if (!slot.second) slot = {labels, std::make_unique<Gauge>()};
  return *slot.second;
}

Histogram& Metrics::histogram(std::string_view name, std::string_view sentence, std::vector<double> bounds,
                              const Labels& labels) {
  auto& slot = family(name, sentence, "histogram").histograms[label_text(labels)];
  if (!slot.second) slot = {labels, std::make_unique<Histogram>(std::move(bounds))};
  return *slot.second;
}

void Metrics::gauge_from(std::string_view name, std::string_view sentence, Callback<double()> value) {
  family(name, sentence, "gauge").ask = std::move(value);
}

std::string Metrics::text() {
  std::string out;
  for (auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family->sentence, name, family->type);
    for (const auto& [labels, slot] : family->counters)
      out += fmt::format("{}{} {}\n", name, labels, slot.second->value());
    for (const auto& [labels, slot] : family->gauges)
      out += fmt::format("{}{} {}\n", name, labels, slot.second->value());
    if (family->ask) out += fmt::format("{} {}\n", name, family->ask());
    for (const auto& [labels, slot] : family->histograms) {
      const Histogram& histogram = *slot.second;
      std::uint64_t below = 0;
      for (std::size_t i = 0; i < histogram.buckets_.size(); ++i) {
        below += histogram.buckets_[i].load(std::memory_order_relaxed);
        const std::string bound =
            i < histogram.bounds_.size() ? fmt::format("le=\"{}\"", histogram.bounds_[i]) : "le=\"+Inf\"";
        out += fmt::format("{}_bucket{} {}\n", name, label_text(slot.first, bound), below);
      }
      out += fmt::format("{}_sum{} {}\n", name, labels, histogram.sum_.load(std::memory_order_relaxed));
      out += fmt::format("{}_count{} {}\n", name, labels, histogram.count_.load(std::memory_order_relaxed));
    }
  }
  return out;
}

std::uint64_t Metrics::total(std::string_view name) const {
  const auto found = families_.find(name);
  if (found == families_.end()) return 0;
  std::uint64_t sum = 0;
  for (const auto& [labels, slot] : found->second->counters) sum += slot.second->value();
  for (const auto& [labels, slot] : found->second->gauges)
    sum += static_cast<std::uint64_t>(slot.second->value());
  return sum;
}

}  // namespace layerd
