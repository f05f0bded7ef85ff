#include "daemon/serve.h"

#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/app.h"
#include "daemon/config.h"
#include "daemon/config_values.h"
#include "daemon/file_watch.h"
#include "daemon/last_good.h"
#include "daemon/version.h"
#include "runtime/file.h"
#include "runtime/signals.h"
#include "systemd/notify.h"

namespace layerd::daemon {
namespace {

std::vector<std::string> sentences(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const auto& problem : problems) lines.push_back(problem.str());
  return lines;
}

void log_problems(LogLevel level, const char* event, const std::vector<std::string>& problems) {
  for (const auto& problem : problems) LogLine(level, event).field("err", problem);
}

// For what comes behind the drain: the store's last word.
constexpr Duration kLastWords = std::chrono::seconds(10);

struct Boot {
  SettingsPtr settings;  // null: nothing to start from
  ConfigState state;
  ConfigSources sources;
  std::vector<net::FileStamp> stamps;
};

Boot load_for_boot(const std::string& config_path, bool path_given) {
  Boot boot;
  auto loaded = load_config(config_path, {.must_exist = path_given, .check_files = true, .is_daemon = true});
  log_problems(LogLevel::warn, "config_warning", sentences(loaded.warnings));
  boot.state.file = config_path;
  boot.stamps = std::move(loaded.stamps);
  if (loaded.ok()) {
    boot.settings = loaded.settings;
    boot.state.source = loaded.sources.config_path.empty() ? "defaults" : "file";
    boot.sources = std::move(loaded.sources);
    return boot;
  }
  boot.state.errors = sentences(loaded.errors);
  for (const auto& problem : boot.state.errors) fmt::print(stderr, "layerd: {}\n", problem);
  auto last_good = find_last_good(config_path, path_given);
  if (!last_good) return boot;
  boot.settings = last_good->settings;
  boot.state.source = "last_good";
  LogLine(LogLevel::error, "config_refused")
      .field("file", config_path)
      .field("err", "the configuration is refused; starting from the last good one until it is mended");
  return boot;
}

// No core dumps: memory holds credentials.
void harden_process() {
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 65536);
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

// What a worker brings of a reload.
struct Reloaded {
  LoadedConfig config;
  std::optional<Error> not_saved;  // why it is not kept as the last good one
};

Reloaded load_again(const std::string& config_path, bool path_given, const std::string& cache_path) {
  Reloaded reloaded{
      load_config(config_path, {.must_exist = path_given, .check_files = true, .is_daemon = true}), {}};
  if (!reloaded.config.ok()) return reloaded;
  if (auto saved = save_last_good_everywhere(cache_path, reloaded.config.sources); !saved)
    reloaded.not_saved = std::move(saved).error();
  return reloaded;
}

// The running daemon: signals, watchdog, reload.
class Daemon {
 public:
  Daemon(UvLoop& loop, App& app, systemd::Notifier& notifier, std::string config_path, bool path_given,
         std::vector<net::FileStamp> stamps)
      : loop_(loop),
        app_(app),
        notifier_(notifier),
        config_path_(std::move(config_path)),
        path_given_(path_given),
        terminate_(loop, SIGTERM, [this] { stop(); }),
        interrupt_(loop, SIGINT, [this] { stop(); }),
        hang_up_(loop, SIGHUP, [this] { reload(); }),
        files_(loop, [this] { reload(); }) {
    app_.set_reload([this](Done<Json> done) {
      auto waiter = std::make_shared<Pending<Json>>(std::move(done));
      waiting_.push_back(waiter);
      reload();
      return Ticket(waiter);
    });
    files_.watch(std::move(stamps));
    ping();
  }

 private:
  void stop() {
    if (stopping_) return loop_.stop();  // the second signal does not wait
    stopping_ = true;
    notifier_.stopping(app_.settings().drain + kLastWords);
    LogLine(LogLevel::info, "stopping").field("drain", duration_text(app_.settings().drain));
    app_.drain([this] { loop_.stop(); });
  }

  // Read, parsed and kept by a worker: disks and the root helper may be slow. Who asks while it reads may
  // mean what changed since, and gets a load of his own behind it.
  void reload() {
    if (loading_.held()) {
      is_asked_again_ = true;
      return;
    }
    if (stopping_) return answer(std::exchange(waiting_, {}));
    notifier_.reloading();
    answering_ = std::exchange(waiting_, {});
    loading_ = app_.workers().run<Reloaded>(
        "configuration",
        [path = config_path_, given = path_given_, cache = app_.settings().cache_path]() -> Result<Reloaded> {
          return load_again(path, given, cache);
        },
        [this](Result<Reloaded> reloaded) { on_loaded(std::move(*reloaded)); });
  }

  void on_loaded(Reloaded reloaded) {
    loading_.reset();
    if (!stopping_) take(std::move(reloaded));
    answer(std::exchange(answering_, {}));
    if (std::exchange(is_asked_again_, false)) reload();
  }

  void take(Reloaded reloaded) {
    auto& loaded = reloaded.config;
    log_problems(LogLevel::warn, "config_warning", sentences(loaded.warnings));
    files_.watch(loaded.stamps);
    if (!loaded.ok()) {
      const auto errors = sentences(loaded.errors);
      log_problems(LogLevel::error, "config_refused", errors);
      app_.refuse(errors);
    } else {
      ConfigState state{config_path_, loaded.sources.config_path.empty() ? "defaults" : "file", {}};
      if (reloaded.not_saved) LogLine(LogLevel::warn, "last_good").field("err", reloaded.not_saved->message);
      for (const auto& key : app_.apply(loaded.settings, std::move(state)))
        LogLine(LogLevel::warn, "config_restart")
            .field("key", key)
            .field("err", "takes effect at the next start");
      LogLine(LogLevel::info, "reloaded").field("file", config_path_);
    }
    notifier_.ready("serving on " + app_.listening());
  }

  // On later stacks: each may destroy others.
  void answer(std::vector<std::shared_ptr<Pending<Json>>> waiters) {
    for (auto& waiter : waiters)
      loop_.post_detached([waiter, errors = app_.config_state().errors] {
        waiter->answer(Json{{"errors", errors}});
      });
  }

  void ping() {
    const auto every = notifier_.ping_every();
    if (!every) return;
    notifier_.watchdog_ping();
    pinging_ = loop_.after(*every, "watchdog", [this] { ping(); });
  }

  UvLoop& loop_;
  App& app_;
  systemd::Notifier& notifier_;
  const std::string config_path_;
  const bool path_given_;
  bool stopping_ = false;
  bool is_asked_again_ = false;                                      // while loading_ is held
  std::vector<std::shared_ptr<Pending<Json>>> waiting_, answering_;  // for the next load, and for this one
  SignalWatch terminate_, interrupt_, hang_up_;
  FileWatch files_;
  Ticket pinging_, loading_;
};

int run_daemon(Boot boot, const std::string& config_path, bool path_given, systemd::Notifier notifier,
               std::vector<systemd::InheritedSocket> sockets) {
  UvLoop loop;
  auto app = App::start(loop, boot.settings, boot.state, std::move(sockets));
  if (!app) {
    log::stop();
    fmt::print(stderr, "layerd: {}\n", app.error().message);
    return app.error().code == Errc::config ? 2 : 1;
  }
  if (boot.state.errors.empty())
    if (auto saved = save_last_good_everywhere(boot.settings->cache_path, boot.sources); !saved)
      LogLine(LogLevel::warn, "last_good").field("err", saved.error().message);
  {
    Daemon daemon(loop, **app, notifier, config_path, path_given, std::move(boot.stamps));
    LogLine(LogLevel::info, "serving").field("version", kVersion).field("listen", (*app)->listening());
    notifier.ready("serving on " + (*app)->listening());
    loop.run();
  }
  app->reset();
  loop.close();
  LogLine(LogLevel::info, "stopped");
  log::stop();
  return 0;
}

}  // namespace

int serve_command(const std::string& config_path, bool path_given) {
  harden_process();
  auto notifier = systemd::Notifier::from_environment();
  auto sockets = systemd::inherited_sockets();
  if (!sockets) {
    fmt::print(stderr, "layerd: {}\n", sockets.error().message);
    return 1;
  }
  Boot boot = load_for_boot(config_path, path_given);
  if (!boot.settings) return 2;
  log::start(boot.settings->log_level, boot.settings->log_format);
  return run_daemon(std::move(boot), config_path, path_given, std::move(notifier), std::move(*sockets));
}

}  // namespace layerd::daemon
