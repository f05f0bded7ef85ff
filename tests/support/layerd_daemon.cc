#include "tests/support/layerd_daemon.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/support/free_port.h"
#include "tests/support/hashes.h"
#include "tests/support/secrets.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace fs = std::filesystem;

LayerdDaemon::LayerdDaemon(DaemonSettings settings) : settings_(std::move(settings)), port_(free_port()) {
  if (settings_.cache_path.empty()) settings_.cache_path = settings_.folder + "/cache";
  configure(settings_.more);
  start();
}

LayerdDaemon::~LayerdDaemon() {
  if (process_ && process_->running()) process_->stop(SIGTERM, std::chrono::seconds(20));
}

std::string LayerdDaemon::url() const { return fmt::format("http://127.0.0.1:{}", port_); }
std::string LayerdDaemon::log() const { return read_text(settings_.folder + "/layerd.log"); }

void LayerdDaemon::configure(const std::string& more) {
  // The tests' clients are this user's; as root they are what runtimes are by default.
  const bool is_plain = ::geteuid() != 0 && more.find("access:") == std::string::npos;
  const std::string access =
      is_plain ? fmt::format("access: {{runtime_uids: [{}]}}\n", ::geteuid()) : std::string();
  write_text(config_file(),
             fmt::format("listen: 127.0.0.1:{}\nadmin: {{socket: {}}}\n"
                         "cache: {{path: {}, max_size: {}, min_free: {}}}\nlog: {{level: debug}}\n{}{}\n",
                         port_, socket(), settings_.cache_path, settings_.max_size, settings_.min_free,
                         access, more));
}

void LayerdDaemon::start() {
  process_.reset();
  process_.emplace(
      Command{{settings_.binary, "serve", "--config", config_file()}, {}, settings_.folder + "/layerd.log"});
  for (int tries = 0; tries < 1000; ++tries) {
    if (!process_->running()) break;
    if (wait_for_port(port_, std::chrono::milliseconds(0)) && get("/healthz").status == 200) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw std::runtime_error("layerd does not come up: " + log());
}

int LayerdDaemon::stop() { return process_->stop(SIGTERM, std::chrono::seconds(20)); }
void LayerdDaemon::kill() { process_->stop(SIGKILL); }

Finished LayerdDaemon::command(std::vector<std::string> arguments) const {
  std::vector<std::string> all = {settings_.binary, "--config", config_file()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  Finished finished = run(std::move(all));
  std::ofstream(settings_.folder + "/commands.log", std::ios::app) << finished.output << "\n";
  return finished;
}

ProbeReply LayerdDaemon::get(const std::string& target,
                             std::vector<std::pair<std::string, std::string>> headers) const {
  return noted(probe({port_, target, std::move(headers)}));
}

ProbeReply LayerdDaemon::head(const std::string& target,
                              std::vector<std::pair<std::string, std::string>> headers) const {
  return noted(probe({port_, target, std::move(headers), "HEAD"}));
}

// Refusals and pages; not what images are made of.
ProbeReply LayerdDaemon::noted(ProbeReply reply) const {
  const bool is_page = reply.header("content-type").starts_with("text/");
  if (reply.status < 400 && !is_page) return reply;
  std::string text = reply.reason + "\n";
  for (const auto& [name, value] : reply.headers) text += name + ": " + value + "\n";
  std::ofstream(settings_.folder + "/answers.log", std::ios::app) << text + reply.body + "\n";
  return reply;
}

double LayerdDaemon::metric(const std::string& name) const {
  std::istringstream lines(probe({port_, "/metrics"}).body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return std::atof(line.c_str() + name.size() + 1);
  }
  return -1;
}

std::string LayerdDaemon::blob_file(const std::string& digest) const {
  const std::size_t colon = digest.find(':');
  const std::string hex = digest.substr(colon + 1);
  return fmt::format("{}/blobs/{}/{}/{}", settings_.cache_path, digest.substr(0, colon), hex.substr(0, 2),
                     hex);
}

bool LayerdDaemon::has_blob(const std::string& digest) const { return fs::exists(blob_file(digest)); }

std::vector<std::string> LayerdDaemon::wrong_blobs() const {
  std::vector<std::string> wrong;
  const fs::path root = settings_.cache_path + "/blobs";
  if (!fs::exists(root)) return wrong;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file() || name.find_first_not_of("0123456789abcdef") != std::string::npos) continue;
    const std::string bytes = read_text(entry.path());
    const std::string hex = name.size() == 128 ? sha512_hex(bytes) : sha256_hex(bytes);
    if (hex != name) wrong.push_back(entry.path());
  }
  return wrong;
}

std::string LayerdDaemon::complaints() const {
  std::istringstream lines(log() + read_text(settings_.folder + "/commands.log") +
                           read_text(settings_.folder + "/answers.log"));
  std::string found;
  const std::vector<std::string> secrets = secrets_of(config_file());
  for (std::string line; std::getline(lines, line);) {
    for (const auto& secret : secrets)
      if (line.find(secret) != std::string::npos) found += "a secret was told: " + line + "\n";
    for (const char* sign : {"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
                             "runtime error:", "LAYERD_CHECK", "check failed"}) {
      if (line.find(sign) != std::string::npos) {
        found += line + "\n";
        break;
      }
    }
  }
  return found;
}

}  // namespace layerd::test
