// Log lines: logfmt (or JSON) to stderr through a bounded queue off the loop; drops are counted.
// Fields never hold a secret; values are quoted where logfmt needs it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace layerd {

enum class LogLevel { debug, info, warn, error };

namespace log {

enum class Format { text, json };

// Begins the background writer. Before this (and after stop()) lines go straight to stderr.
void start(LogLevel level, Format format);
void set(LogLevel level, Format format);
bool enabled(LogLevel level);
// Writes what is queued and ends the writer.
void stop();
std::uint64_t dropped_lines();

}  // namespace log

// One line: LogLine(LogLevel::info, "blob").field("method", "GET").field("bytes", 12). Written
// when it goes out of scope. Field names are fixed words; see docs/logging.md.
class LogLine {
 public:
  LogLine(LogLevel level, std::string_view event);
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  ~LogLine();
  LogLine& field(std::string_view name, std::string_view value);
  LogLine& field(std::string_view name, const char* value) { return field(name, std::string_view(value)); }
  LogLine& field(std::string_view name, const std::string& value) {
    return field(name, std::string_view(value));
  }
  LogLine& field(std::string_view name, std::int64_t value);
  LogLine& field(std::string_view name, std::uint64_t value);
  LogLine& field(std::string_view name, int value) { return field(name, static_cast<std::int64_t>(value)); }
  LogLine& field(std::string_view name, bool value) { return field(name, value ? "true" : "false"); }

 private:
  bool on_;
  LogLevel level_;
  std::string event_;
  std::vector<std::pair<std::string, std::string>> fields_;
};

// At most `most` bytes of `text`, printable ASCII only: others' words in our lines and headers.
std::string printable(std::string_view text, std::size_t most = 200);

}  // namespace layerd
