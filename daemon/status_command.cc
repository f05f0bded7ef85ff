#include "daemon/status_command.h"

#include <fmt/core.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

#include "daemon/print.h"

namespace layerd::daemon {
namespace {

std::uint64_t number(const Json& object, const char* key) {
  const auto value = json_int(object, key);
  return value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

const Json& part(const Json& object, const char* key) {
  static const Json kNone = Json::object();
  const Json* found = json_find(object, key);
  return found ? *found : kNone;
}

// "https://registry.example.com 3.0 MiB; members 12.0 MiB (now 10.0.0.2:5152 2, 10.0.0.3:5152 1)": how many
// bytes came from where, and how many units come from which member now. Unshared: the endpoint alone.
std::string origin(const Json& row) {
  const std::string endpoint = json_string(row, "endpoint");
  const auto members = number(row, "from_members"), upstream = number(row, "from_upstream");
  std::map<std::string, unsigned> now;
  const Json& units = part(row, "units");
  for (const auto& unit : units.is_array() ? units : Json::array()) {
    const std::string from = json_string(unit, "from");
    if (!from.empty() && from != "upstream") ++now[from];
  }
  if (members == 0 && now.empty()) return endpoint;
  std::string giving;
  for (const auto& [member, count] : now)
    giving += fmt::format("{}{} {}", giving.empty() ? " (now " : ", ", member, count);
  return fmt::format(
      "{}members {}{}",
      upstream > 0 ? fmt::format("{} {}; ", endpoint.empty() ? "upstream" : endpoint, human_bytes(upstream))
                   : "",
      human_bytes(members), giving.empty() ? "" : giving + ")");
}

void print_downloads(const Json& downloads) {
  if (!downloads.is_array() || downloads.empty()) return;
  std::vector<std::vector<std::string>> rows{{"DOWNLOAD", "STATE", "PROGRESS", "RATE", "CLIENTS", "FROM"}};
  for (const auto& row : downloads) {
    const auto present = number(row, "present");
    const Json* size = json_find(row, "size");
    const bool sized = size && size->is_number() && size->get<std::uint64_t>() > 0;
    const std::string progress = sized
                                     ? fmt::format("{} of {} ({:.0f} %)", human_bytes(present),
                                                   human_bytes(size->get<std::uint64_t>()),
                                                   100.0 * static_cast<double>(present) / size->get<double>())
                                     : human_bytes(present);
    rows.push_back({json_string(row, "digest").substr(0, 19), json_string(row, "state"), progress,
                    human_bytes(static_cast<std::uint64_t>(row.value("bytes_per_second", 0.0))) + "/s",
                    std::to_string(number(row, "followers")), origin(row)});
  }
  fmt::print("\n{}", table(rows));
}

void print_upstreams(const Json& upstreams) {
  if (!upstreams.is_array() || upstreams.empty()) return;
  std::vector<std::vector<std::string>> rows{{"UPSTREAM", "STATE", "PULLS LEFT", "LAST ERROR"}};
  for (const auto& row : upstreams) {
    const Json& limit = part(row, "pull_limit");
    const auto left = limit.is_object()
                          ? fmt::format("{} of {}", number(limit, "remaining"), number(limit, "limit"))
                          : std::string("-");
    rows.push_back(
        {json_string(row, "endpoint"), json_string(row, "state"), left, json_string(row, "last_error")});
  }
  fmt::print("\n{}", table(rows));
}

void print_status(const Json& status) {
  const Json &cache = part(status, "cache"), &traffic = part(status, "traffic"),
             &config = part(status, "config");
  fmt::print("layerd {}: {} for {}\n", json_string(status, "version"), json_string(status, "state"),
             human_seconds(static_cast<double>(number(status, "uptime_seconds"))));
  const std::string source = json_string(config, "source");
  fmt::print("configuration: {}\n",
             source == "defaults"
                 ? "built-in defaults"
                 : json_string(config, "file") +
                       (source == "last_good" ? " is refused; running from the last good one" : ""));
  for (const auto& error : config.value("errors", Json::array()))
    if (error.is_string()) fmt::print("  {}\n", error.get<std::string>());
  for (const auto& trouble : part(status, "files"))
    if (trouble.is_string()) fmt::print("file: {}\n", trouble.get<std::string>());
  fmt::print("cache: {} in {} blobs at {}, limit {}, {} free on the disk{}\n",
             human_bytes(number(cache, "bytes")), number(cache, "blobs"), json_string(cache, "path"),
             human_bytes(number(cache, "max_bytes")), human_bytes(number(cache, "free_bytes")),
             cache.value("read_only", false) ? "; THE DISK REFUSES WRITES, blobs are passed through" : "");
  fmt::print("traffic: {} answers, {} served, {} from upstream, {} saved, {:.0f} % from the cache\n",
             number(traffic, "exchanges"), human_bytes(number(traffic, "served_bytes")),
             human_bytes(number(traffic, "upstream_bytes")), human_bytes(number(traffic, "saved_bytes")),
             100 * traffic.value("hit_rate", 0.0));
  print_downloads(part(status, "downloads"));
  print_upstreams(part(status, "upstreams"));
}

void print_waits(const Json& waits) {
  std::vector<std::vector<std::string>> rows{{"WAITS FOR", "DETAIL", "SINCE"}};
  for (const auto& row : waits)
    rows.push_back(
        {json_string(row, "what"), json_string(row, "detail"), human_seconds(row.value("seconds", 0.0))});
  fmt::print("\n{}", table(rows));
}

int print_once(const std::string& socket_path, const StatusOptions& options) {
  auto answer = ask_admin(socket_path, "GET", "/v1/status", 10);
  if (!answer) {
    fmt::print(stderr, "layerd: {}\n", answer.error().message);
    return 1;
  }
  Json status = std::move(answer->body);
  if (options.debug) {
    auto waits = ask_admin(socket_path, "GET", "/v1/waits", 10);
    if (waits && waits->body.is_array()) status["waits"] = std::move(waits->body);
  }
  if (options.json) {
    fmt::print("{}\n", dump_json(status, options.watch ? -1 : 2));
    return 0;
  }
  if (options.watch && is_terminal(1)) fmt::print("\x1b[H\x1b[2J");
  print_status(status);
  if (options.debug) print_waits(part(status, "waits"));
  return 0;
}

}  // namespace

int status_command(const std::string& socket_path, StatusOptions options) {
  for (;;) {
    const int failed = print_once(socket_path, options);
    std::fflush(stdout);
    if (failed || !options.watch) return failed;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace layerd::daemon
