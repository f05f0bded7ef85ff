#include "daemon/setup/programs.h"

#include <fmt/core.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include "proxy/registry/text.h"
#include "runtime/log.h"
#include "runtime/uv_children.h"
#include "runtime/uv_loop.h"

namespace layerd::daemon::setup {
namespace {

// The last line that says something.
std::string last_words(const std::string& output) {
  const auto text = registry::trim_all(output);
  const auto line = text.rfind('\n');
  return printable(line == std::string_view::npos ? text : text.substr(line + 1), 400);
}

// Nothing: it was interrupted, and killed. The child has a session of its own, so that what interrupts setup
// does not reach it by itself.
std::optional<Result<ChildEnd>> run_child(ChildCommand command, const std::function<bool()>& is_interrupted) {
  UvLoop loop;
  std::optional<Result<ChildEnd>> end;
  {
    UvChildren children(loop);
    const Ticket running = children.run(std::move(command), [&](Result<ChildEnd> ended) {
      end = std::move(ended);
      loop.stop();
    });
    Ticket tick;
    std::function<void()> look = [&] {
      if (is_interrupted()) return loop.stop();
      tick = loop.after(std::chrono::milliseconds(100), "setup interrupted", [&] { look(); });
    };
    look();
    loop.run();
  }
  loop.close();
  return end;
}

}  // namespace

Result<std::string> RealPrograms::run(const std::vector<std::string>& arguments, std::chrono::seconds limit) {
  ChildCommand command;
  // stderr says why something failed, and a child's is thrown away.
  command.arguments = {"/bin/sh", "-c", "command -v \"$1\" >/dev/null || exit 127; exec \"$@\" 2>&1", "sh"};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  for (char** each = environ; *each; ++each) command.environment.emplace_back(*each);
  command.limit = limit;
  command.most_output = 8u << 20;
  auto end = run_child(std::move(command), is_interrupted_);
  if (!end) return {Errc::canceled, arguments.front() + " was interrupted"};
  if (!*end) return std::move(*end).error();
  const ChildEnd& done = **end;
  const std::string& name = arguments.front();
  if (done.how == ChildEnd::How::took_too_long)
    return {Errc::upstream_timeout, fmt::format("{} did not end within {} s", name, limit.count())};
  if (done.how != ChildEnd::How::exited)
    return {Errc::local_io, name + " was ended by a signal or said too much"};
  if (done.status == 127) return {Errc::not_found, "there is no program " + name};
  if (done.status != 0)
    return {Errc::upstream_status,
            fmt::format("{} ended with status {}: {}", name, done.status, last_words(done.output))};
  return done.output;
}

}  // namespace layerd::daemon::setup
