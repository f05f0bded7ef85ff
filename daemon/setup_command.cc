#include "daemon/setup_command.h"

#include <fmt/core.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "daemon/admin_client.h"
#include "daemon/config_command.h"
#include "daemon/setup/session.h"

namespace layerd::daemon {
namespace {

// The daemon behind its admin socket.
class AdminLink final : public setup::DaemonLink {
 public:
  explicit AdminLink(std::string socket) : socket_(std::move(socket)) {}

  Result<Json> status() override {
    auto answer = ask_admin(socket_, "GET", "/v1/status", 10);
    if (!answer) return std::move(answer).error();
    return std::move(answer->body);
  }

  Result<Ok> reload() override {
    auto answer = ask_admin(socket_, "POST", "/v1/reload", 30);
    if (!answer) return std::move(answer).error();
    const Json* error = json_find(answer->body, "error");
    if (error)
      return {Errc::denied, "layerd does not read its configuration anew: " + json_string(*error, "message")};
    const Json* errors = json_find(answer->body, "errors");
    if (errors && errors->is_array() && !errors->empty() && errors->front().is_string())
      return {Errc::config, "layerd refuses its configuration: " + errors->front().get<std::string>()};
    return Ok{};
  }

 private:
  const std::string socket_;
};

volatile std::sig_atomic_t interrupted = 0;

// Setup puts back what it wrote and ends; a signal that is ignored (nohup) stays so.
void heed_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old {
    }, heed{};
    heed.sa_handler = [](int) { interrupted = 1; };  // without SA_RESTART: what waits looks at it
    ::sigaction(number, nullptr, &old);
    if (old.sa_handler != SIG_IGN) ::sigaction(number, &heed, nullptr);
  }
}

std::string absolute(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  char folder[PATH_MAX];
  return ::realpath(".", folder) ? std::string(folder) + "/" + path : path;
}

}  // namespace

int setup_command(std::string config_path, bool config_given, const SetupOptions& options) {
  std::string root = absolute(options.root);
  while (root.ends_with('/')) root.pop_back();
  if (!config_given) config_path = root + config_path;
  auto settings = settings_for_command(config_path, config_given && !options.undo);
  if (!settings) return 2;
  setup::SessionOptions session;
  session.runtime = options.runtime;
  session.dry_run = options.dry_run;
  session.undo = options.undo;
  session.verify = options.verify;
  session.no_fallback = options.no_fallback;
  session.keep = options.keep;
  session.images = options.images;
  session.root = root;
  session.config_path = absolute(config_path);
  session.settings = *settings;
  AdminLink daemon((*settings)->admin_socket);
  std::signal(SIGPIPE, SIG_IGN);  // a program that is not there reads no input
  heed_signals();
  session.is_interrupted = [] { return interrupted != 0; };
  setup::RealPrograms programs(session.is_interrupted);
  const auto say = [](const std::string& line) {
    fmt::print("{}{}", line, line.ends_with('\n') ? "" : "\n");
    std::fflush(stdout);
  };
  const auto pull = [](const std::string& listen, const std::string& image) {
    return setup::pull_through(listen, image, std::chrono::seconds(60), [] { return interrupted != 0; });
  };
  auto done = setup::Session(std::move(session), daemon, programs, say, pull).run();
  if (done) return 0;
  fmt::print(stderr, "layerd: {}\n", done.error().message);
  return done.error().code == Errc::config ? 2 : 1;
}

}  // namespace layerd::daemon
