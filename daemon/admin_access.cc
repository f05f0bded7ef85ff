#include "daemon/admin_access.h"

#include <fmt/core.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "cache/disk_store.h"
#include "daemon/admin_api.h"
#include "daemon/settings.h"
#include "runtime/uv_loop.h"
#include "runtime/workers.h"

namespace layerd::daemon {
namespace {

class SocketAccess final : public AdminAccess {
 public:
  explicit SocketAccess(std::string path) : path_(std::move(path)) {}
  Result<AdminAnswer> ask(const std::string& method, const std::string& target) override {
    return ask_admin(path_, method, target, 600);
  }

 private:
  std::string path_;
};

// The store opened here, under its lock, with a loop of its own that runs while something is asked.
class StoreAccess final : public AdminAccess {
 public:
  StoreAccess() : workers_(std::make_unique<Workers>(loop_, 2)) {}
  ~StoreAccess() override {
    if (store_) {
      auto closing = store_->close([this](Result<Ok>) { loop_.stop(); });
      loop_.run();
    }
    store_.reset();
    workers_.reset();
    loop_.close();
  }

  Result<Ok> open(const Settings& settings) {
    cache::StoreSettings store;
    store.path = settings.cache_path;
    store.max_size = {settings.cache_max_size.bytes,
                      settings.cache_max_size.percent > 0 ? settings.cache_max_size.percent : -1};
    store.min_free = {settings.cache_min_free.bytes,
                      settings.cache_min_free.percent > 0 ? settings.cache_min_free.percent : -1};
    store.scrub_period = Duration::zero();
    auto opened = cache::DiskStore::open(loop_, *workers_, metrics_, std::move(store));
    if (!opened) return std::move(opened).error();
    store_ = std::move(*opened);
    api_ = std::make_unique<AdminApi>(loop_, *store_, store_->catalog());
    return Ok{};
  }

  Result<AdminAnswer> ask(const std::string& method, const std::string& target) override {
    auto request = parse_admin_target(method, target);
    if (!request) return std::move(request).error();
    request->may_change = true;  // the kernel let us open the files
    AdminAnswer answer;
    auto pending = api_->answer(*request, [&](AdminReply reply) {
      answer = {reply.status, std::move(reply.body)};
      loop_.stop();
    });
    loop_.run();
    return answer;
  }

 private:
  UvLoop loop_;
  Metrics metrics_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<cache::DiskStore> store_;
  std::unique_ptr<AdminApi> api_;
};

// Files that root makes in a store of the daemon's user would keep the daemon out of it.
Result<Ok> become_owner(const std::string& path) {
  struct stat facts {};
  if (::geteuid() != 0 || ::stat(path.c_str(), &facts) != 0 || facts.st_uid == 0) return Ok{};
  if (::setgroups(0, nullptr) == 0 && ::setgid(facts.st_gid) == 0 && ::setuid(facts.st_uid) == 0) return Ok{};
  return errno_error(fmt::format("cannot become the owner of {}", path), errno, Errc::denied);
}

}  // namespace

Result<std::unique_ptr<AdminAccess>> open_admin_access(const Settings& settings) {
  auto running = settings.admin_socket.empty()
                     ? Result<AdminAnswer>(Errc::not_found, "no admin socket is configured")
                     : ask_admin(settings.admin_socket, "GET", "/v1/status", 10);
  if (running) return std::unique_ptr<AdminAccess>(std::make_unique<SocketAccess>(settings.admin_socket));
  if (running.error().code != Errc::not_found) return std::move(running).error();
  if (auto marker = read_file(settings.cache_path + "/format");
      !marker && marker.error().code == Errc::not_found)
    return Error{Errc::not_found,
                 fmt::format("no daemon runs and there is no store at {}", settings.cache_path)};
  if (auto become = become_owner(settings.cache_path); !become) return std::move(become).error();
  auto store = std::make_unique<StoreAccess>();
  if (auto opened = store->open(settings); !opened) return std::move(opened).error();
  return std::unique_ptr<AdminAccess>(std::move(store));
}

}  // namespace layerd::daemon
