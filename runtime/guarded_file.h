// Files the configuration names: passwords, keys, registries.yaml. What only root may read comes from the
// root helper (systemd/opener.h, `layerd root-helper`) as an open descriptor, when the unit has named its
// socket in $LAYERD_OPENER. Any thread; blocks, on the helper at most 2 s.
#pragma once

#include <string>

#include "runtime/file.h"

namespace layerd {

inline constexpr const char* kOpenerVariable = "LAYERD_OPENER";
inline constexpr std::size_t kMostPathBytes = 4096;

// "it belongs to root and has mode 0700", for people: why something cannot be read.
std::string owner_of(const std::string& path);

// For reading. Errors: as File::open; where the right to read is missing, the sentence names the owner and
// the mode of the file and what the helper said.
Result<FilePtr> open_guarded(const std::string& path);
// The whole content. Errors: as open_guarded; local_io when it is longer than `most`.
Result<std::string> read_guarded(const std::string& path, std::size_t most);

}  // namespace layerd
