// DockerConfigs: the docker config files of the configuration as they are now. Read by a worker when
// their stamp changes, also when a link on the way to them does (kubernetes swaps those). Loop thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/file_stamp.h"
#include "proxy/registry/docker_config.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::upstream {

struct DockerConfigState {
  std::string file;
  std::shared_ptr<const registry::DockerConfig> config;  // null: it could never be read, or it is gone
  std::string trouble;  // why it cannot be read now; what it held before counts on, unless it is gone
};

class DockerConfigs {
 public:
  DockerConfigs(Loop& loop, Workers& workers) : loop_(loop), workers_(workers) {}
  DockerConfigs(const DockerConfigs&) = delete;
  DockerConfigs& operator=(const DockerConfigs&) = delete;

  // In the order of `files`. Looks at the files at most every 500 ms. Changes are logged: what is wrong
  // with a file, single entries that cannot be used, and that others may read it.
  Ticket get(const std::vector<std::string>& files, Done<std::vector<DockerConfigState>> done);
  // The same, and looks now.
  Ticket look_now(const std::vector<std::string>& files, Done<std::vector<DockerConfigState>> done);
  // What was wrong with whole files at the last look, one sentence each, for people.
  std::vector<std::string> troubles() const;

 private:
  struct Known {
    DockerConfigState state;
    net::FileStamp stamp;
    bool others_can_read = false;
  };
  using KnownList = std::vector<Known>;
  static Known look(const std::string& file, const KnownList& before);
  static std::string trouble_of(const Known& known);
  static void tell(const Known& known);
  static std::vector<DockerConfigState> states_of(const KnownList& known);

  Loop& loop_;
  Workers& workers_;
  // Shared with the answers under way.
  struct Cache {
    KnownList known;
    TimePoint looked_at{};
  };
  std::shared_ptr<Cache> cache_ = std::make_shared<Cache>();
};

}  // namespace layerd::upstream
