// `layerd cache …`: the store from the command line. Blocks; not for the loop.
// Each function answers the exit status: 0 done, 1 it failed (the reason on stderr).
#pragma once

#include <string>
#include <vector>

#include "daemon/admin_access.h"

namespace layerd::daemon {

int cache_ls(AdminAccess& access, bool blobs, bool json);
// names: digests ("sha256:…"), or images ("nginx:1.27", "ghcr.io/org/app:v1") whose tag is forgotten
// together with its manifest's file.
int cache_rm(AdminAccess& access, const std::vector<std::string>& names);
int cache_pin(AdminAccess& access, const std::vector<std::string>& names, bool pinned);
int cache_gc(AdminAccess& access, bool json);
// digests: none means every blob. Exit 1 when a bad one was found.
int cache_verify(AdminAccess& access, const std::vector<std::string>& digests, bool json);

}  // namespace layerd::daemon
