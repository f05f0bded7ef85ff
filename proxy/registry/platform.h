// Platforms: what an index says its manifests are for, and which of them a machine takes (OCI image index,
// `platform`). The bytes come from outside: counts and texts are bounded. Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/digest.h"
#include "runtime/result.h"

namespace layerd::registry {

struct Platform {
  std::string os, architecture, variant;
  std::string str() const;  // "linux/arm64/v8"
};

// "linux/arm64", "linux/arm/v7", "arm64" (linux). Errors: invalid_request, naming the text.
Result<Platform> parse_platform(std::string_view text);
// Of a machine as uname names it ("x86_64", "aarch64", "armv7l"); linux.
Platform platform_of_machine(std::string_view machine);

struct PlatformManifest {
  Platform platform;
  Digest digest;
};
// The manifests of an index that are images for a platform; attestations ("unknown/unknown") are left out.
// Nothing for what is no index. At most 1 000.
std::vector<PlatformManifest> platforms_of(std::string_view index);

// Of an image's configuration; nothing for what says none.
std::optional<Platform> platform_of_config(std::string_view config);

// The one to take: os and architecture the same; the variant too, or the highest one that is not above it; as
// containerd does, arm64 counts as arm64/v8, arm as arm/v7 and amd64 as amd64/v1.
std::optional<PlatformManifest> choose_platform(const std::vector<PlatformManifest>& all,
                                                const Platform& wanted);

}  // namespace layerd::registry
