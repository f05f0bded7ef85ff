#include "proxy/upstream/docker_configs.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "runtime/guarded_file.h"
#include "runtime/log.h"

namespace layerd::upstream {
namespace {
constexpr std::chrono::milliseconds kLookEvery{500};
}  // namespace

// Worker side.
DockerConfigs::Known DockerConfigs::look(const std::string& file, const KnownList& before) {
  const auto known = std::find_if(before.begin(), before.end(),
                                  [&](const Known& other) { return other.state.file == file; });
  const auto stamp = net::FileStamp::of(file);
  // What stood in the way may go without a trace in the stamp: the rights to read it. A file in a folder that
  // only root may enter has no stamp.
  if (known != before.end() && known->stamp == stamp && stamp.inode != 0 && known->state.trouble.empty())
    return *known;
  Known now;
  now.state.file = file;
  now.stamp = stamp;
  struct stat info {};
  now.others_can_read = ::stat(file.c_str(), &info) == 0 && (info.st_mode & (S_IROTH | S_IWOTH)) != 0;
  auto text = read_guarded(file, registry::kMostDockerConfigBytes);
  auto parsed = text ? registry::parse_docker_config(*text, file)
                     : Result<registry::DockerConfig>(std::move(text).error());
  if (parsed) {
    now.state.config = std::make_shared<const registry::DockerConfig>(std::move(*parsed));
    return now;
  }
  const bool is_gone = parsed.error().code == Errc::not_found;
  now.state.trouble = parsed.error().message;
  // A file caught while it is written, or mistyped, must not take away what worked.
  if (!is_gone && known != before.end()) now.state.config = known->state.config;
  return now;
}

// Empty: it can be used.
std::string DockerConfigs::trouble_of(const Known& known) {
  if (known.state.trouble.empty()) return {};
  return known.state.trouble + (known.state.config ? "; what it held before counts until it is mended" : "");
}

void DockerConfigs::tell(const Known& known) {
  const auto& file = known.state.file;
  if (const auto trouble = trouble_of(known); !trouble.empty())
    LogLine(LogLevel::warn, "docker_config").field("file", file).field("err", trouble);
  if (known.others_can_read)
    LogLine(LogLevel::warn, "docker_config")
        .field("file", file)
        .field("err", "every user can read it; take that away with chmod o= " + file);
  if (!known.state.config || !known.state.trouble.empty()) return;
  for (const auto& problem : known.state.config->problems)
    LogLine(LogLevel::warn, "docker_config").field("file", file).field("err", problem);
}

std::vector<DockerConfigState> DockerConfigs::states_of(const KnownList& known) {
  std::vector<DockerConfigState> states;
  for (const auto& one : known) states.push_back(one.state);
  return states;
}

Ticket DockerConfigs::get(const std::vector<std::string>& files, Done<std::vector<DockerConfigState>> done) {
  const auto now = loop_.now();
  const bool is_same =
      std::equal(files.begin(), files.end(), cache_->known.begin(), cache_->known.end(),
                 [](const auto& file, const Known& known) { return file == known.state.file; });
  if (is_same && now - cache_->looked_at < kLookEvery && cache_->looked_at != TimePoint{})
    return loop_.post([cache = cache_, done = std::move(done)]() mutable { done(states_of(cache->known)); });
  return look_now(files, std::move(done));
}

Ticket DockerConfigs::look_now(const std::vector<std::string>& files,
                               Done<std::vector<DockerConfigState>> done) {
  const auto now = loop_.now();
  return workers_.run<KnownList>(
      "docker configs",
      [files, before = cache_->known] {
        KnownList all;
        for (const auto& file : files) all.push_back(look(file, before));
        return Result<KnownList>(std::move(all));
      },
      [cache = cache_, now, done = std::move(done)](Result<KnownList> looked) mutable {
        if (!looked) return done(std::move(looked).error());
        // Several may have looked at the same time; it is told once.
        for (const auto& one : *looked) {
          const bool is_known =
              std::any_of(cache->known.begin(), cache->known.end(), [&](const Known& other) {
                return other.state.file == one.state.file && other.stamp == one.stamp &&
                       other.state.trouble == one.state.trouble;
              });
          if (!is_known) tell(one);
        }
        cache->known = *looked;
        cache->looked_at = now;
        done(states_of(*looked));
      });
}

std::vector<std::string> DockerConfigs::troubles() const {
  std::vector<std::string> sentences;
  for (const auto& known : cache_->known)
    if (auto trouble = trouble_of(known); !trouble.empty()) sentences.push_back(std::move(trouble));
  return sentences;
}

}  // namespace layerd::upstream
