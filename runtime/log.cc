// The writer is spdlog's asynchronous logger: a bounded queue, one thread, oldest lines overrun
// when stderr (journald) blocks; the overruns are counted. The one home of spdlog.
#include "runtime/log.h"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

#include "runtime/json.h"

namespace layerd {
namespace {

constexpr std::size_t kQueueLines = 2048;

// What the process writes to: one for all, since stderr is one for all.
struct Writer {
  std::mutex mutex;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::logger> logger;
  std::atomic<LogLevel> level{LogLevel::info};
  std::atomic<log::Format> format{log::Format::text};
  std::atomic<std::uint64_t> dropped_before{0};
};

Writer& writer() {
  static Writer* one = new Writer;  // never destroyed: lines may be written during exit
  return *one;
}

std::string_view word_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "info";
}

// logfmt: a value with spaces, quotes, '=' or control bytes is quoted and escaped.
void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\\t\r\n") == std::string_view::npos;
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (char c : value) {
    if (c == '"' || c == '\\') line += '\\';
    if (c == '\n')
      line += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      line += ' ';
    else
      line += c;
  }
  line += '"';
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(ms));
  return text;
}

void write_line(std::string line) {
  auto& to = writer();
  std::shared_ptr<spdlog::logger> logger;
  {
    std::lock_guard lock(to.mutex);
    logger = to.logger;
  }
  if (logger) {
    logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
    return;
  }
  line += '\n';
  const ssize_t ignored = ::write(2, line.data(), line.size());
  static_cast<void>(ignored);
}

}  // namespace

namespace log {

void start(LogLevel level, Format format) {
  auto& to = writer();
  set(level, format);
  std::lock_guard lock(to.mutex);
  if (to.logger) return;
  to.pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
  sink->set_pattern("%v");
  auto logger = std::make_shared<spdlog::async_logger>("layerd", std::move(sink), to.pool,
                                                       spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(spdlog::level::trace);
  to.logger = std::move(logger);
}

void set(LogLevel level, Format format) {
  writer().level.store(level);
  writer().format.store(format);
}

bool enabled(LogLevel level) { return level >= writer().level.load(std::memory_order_relaxed); }

void stop() {
  auto& to = writer();
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::logger> logger;
  {
    std::lock_guard lock(to.mutex);
    logger = std::move(to.logger);
    pool = std::move(to.pool);
    to.logger = nullptr;
    to.pool = nullptr;
  }
  if (!logger) return;
  to.dropped_before += pool->overrun_counter();
  logger->flush();
  logger.reset();
  pool.reset();  // joins the thread once the queue is written
}

std::uint64_t dropped_lines() {
  auto& to = writer();
  std::lock_guard lock(to.mutex);
  return to.dropped_before.load() + (to.pool ? to.pool->overrun_counter() : 0);
}

}  // namespace log

LogLine::LogLine(LogLevel level, std::string_view event) : on_(log::enabled(level)), level_(level) {
  if (on_) event_ = event;
}

LogLine& LogLine::field(std::string_view name, std::string_view value) {
  if (on_) fields_.emplace_back(name, value);
  return *this;
}
LogLine& LogLine::field(std::string_view name, std::int64_t value) {
  if (on_) fields_.emplace_back(name, std::to_string(value));
  return *this;
}
LogLine& LogLine::field(std::string_view name, std::uint64_t value) {
  if (on_) fields_.emplace_back(name, std::to_string(value));
  return *this;
}

LogLine::~LogLine() {
  if (!on_) return;
  if (writer().format.load() == log::Format::json) {
    Json line = Json::object();
    line["ts"] = timestamp();
    line["level"] = word_of(level_);
    line["event"] = event_;
    for (auto& [name, value] : fields_) line[name] = value;
    write_line(dump_json(line));
    return;
  }
  std::string line = "ts=" + timestamp() + " level=" + std::string(word_of(level_)) + " event=" + event_;
  for (const auto& [name, value] : fields_) {
    line += ' ';
    line += name;
    line += '=';
    append_value(line, value);
  }
  write_line(std::move(line));
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  for (char c : text) {
    if (out.size() >= most) break;
    out += c >= 0x20 && c < 0x7f ? c : (c == '\t' || c == '\n' || c == '\r' ? ' ' : '?');
  }
  return out;
}

}  // namespace layerd
