// CredentialFiles: looks at the docker config files of the configuration at the start and whenever one of
// them changes, so that what is wrong with one is in the log, in `layerd status` and in the metrics before a
// pull needs it. One that is bad is looked at again, since the rights to read it leave no trace in its stamp.
// Loop thread; the files are read by a worker.
#pragma once

#include <string>
#include <vector>

#include "daemon/file_watch.h"
#include "proxy/upstream/registry_fetcher.h"

namespace layerd::daemon {

class CredentialFiles {
 public:
  // The fetcher outlives this.
  CredentialFiles(UvLoop& loop, upstream::RegistryFetcher& fetcher);

  // From now on these, which the fetcher knows already.
  void watch(const std::vector<std::string>& files);

 private:
  void look();

  UvLoop& loop_;
  upstream::RegistryFetcher& fetcher_;
  FileWatch files_;
  Ticket looking_, again_;
};

}  // namespace layerd::daemon
