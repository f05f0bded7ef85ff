#include "proxy/status_page.h"

#include <fmt/core.h>

namespace layerd::proxy {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

void row(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, escaped(value));
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

void served_rows(std::string& out, const ServedTally& served) {
  const std::uint64_t objects = served.hits + served.joins + served.from_upstream + served.stale;
  row(out, "Requests", fmt::format("{} ({} failed)", served.exchanges, served.errors));
  row(out, "Answered without fetching", percent(objects - served.from_upstream, objects));
  row(out, "Sent to clients",
      fmt::format("{}, of it {} not fetched for them", size_text(served.bytes), size_text(served.hit_bytes)));
}

void store_rows(std::string& out, const cache::StoreStats& store) {
  row(out, "Cached blobs", fmt::format("{}, {}", store.blobs, size_text(store.bytes)));
  row(out, "Cap", store.max_bytes == 0 ? "none" : size_text(store.max_bytes));
  row(out, "Free on the disk",
      fmt::format("{}, of it {} kept clear", size_text(store.free_bytes), size_text(store.min_free_bytes)));
  row(out, "Partial downloads kept", size_text(store.partial_bytes));
  row(out, "Evicted since the start", size_text(store.evicted_bytes));
  row(out, "Bad files set aside", fmt::format("{}", store.quarantined));
  if (store.read_only) row(out, "Disk", "refuses writes: new blobs are passed through, not kept");
}

void download_rows(std::string& out, const std::vector<DownloadStatus>& downloads) {
  out += "<h2>Downloads</h2>\n";
  if (downloads.empty()) {
    out += "<p>None is running.</p>\n";
    return;
  }
  out +=
      "<table><tr><th>Blob</th><th>For</th><th>State</th><th>Present</th><th>Rate</th><th>Clients</th></"
      "tr>\n";
  for (const DownloadStatus& download : downloads) {
    const std::string of = download.size ? " of " + size_text(*download.size) : std::string();
    out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}{}</td><td>{}/s</td><td>{}</td></tr>\n",
                       download.digest.str().substr(0, 19), escaped(download.repository),
                       escaped(download.state), size_text(download.present), of,
                       size_text(static_cast<ByteCount>(std::max(0.0, download.bytes_per_second))),
                       download.followers);
  }
  out += "</table>\n";
}

constexpr std::string_view kTop =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>layerd</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><style>body{font:1rem/1.5 sans-serif;margin:2rem;"
    "max-width:70rem}table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;"
    "border-bottom:1px solid #ccc}.bad{color:#a00}</style></head><body>\n<h1>layerd</h1>\n";

}  // namespace

std::string size_text(ByteCount bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string status_page(const StatusFigures& figures) {
  std::string out(kTop);
  if (!figures.trouble.empty()) out += fmt::format("<p class=\"bad\">{}</p>\n", escaped(figures.trouble));
  out += "<table>\n";
  row(out, "Version", figures.version);
  row(out, "Running for", fmt::format("{:.0f} s", figures.uptime_seconds));
  served_rows(out, figures.served);
  store_rows(out, figures.store);
  out += "</table>\n";
  download_rows(out, figures.downloads);
  return out + "</body></html>\n";
}

}  // namespace layerd::proxy
