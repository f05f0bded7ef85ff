// `layerd setup podman|crio`: a file below /etc/containers/registries.conf.d (protocol.md §1.8). Pure.
//
// containers/image does not say which registry it means, so the name stands in the path of the mirror:
// 127.0.0.1:5151/docker.io. A name with a port cannot stand there.
#pragma once

#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

// Errors: config, with file and line; a later file that takes the place of what setup writes.
Result<Plan> plan_containers(FileSource& files, const Input& input);

// The file without what setup wrote: it is layerd's own, so it goes; one that somebody else put in its
// place stays. Errors: config: that one has layerd in it.
Result<std::optional<std::string>> without_containers(const std::string& file, const std::string& text,
                                                      const std::string& url);

}  // namespace layerd::daemon::setup
