#include "proxy/registry/platform.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "proxy/registry/manifest.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::registry {
namespace {

constexpr std::size_t kMostText = 40;

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= kMostText && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '_' || c == '.' || c == '-';
  });
}

// 0 for what has no number.
unsigned number_of(const Platform& platform) {
  std::string_view variant = platform.variant;
  if (variant.empty() && platform.architecture == "arm64") variant = "v8";
  if (variant.empty() && platform.architecture == "arm") variant = "v7";
  if (variant.empty() && platform.architecture == "amd64") variant = "v1";
  if (variant.starts_with('v')) variant.remove_prefix(1);
  const auto digits = parse_digits(variant.substr(0, std::min<std::size_t>(3, variant.find('.'))));
  return digits ? static_cast<unsigned>(*digits) : 0;
}

}  // namespace

std::string Platform::str() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Result<Platform> parse_platform(std::string_view text) {
  const auto parts = split(text, '/');
  if (parts.size() > 3 || !std::all_of(parts.begin(), parts.end(), is_word))
    return {
        Errc::invalid_request,
        fmt::format("\"{}\" is no platform; write os/architecture, for example linux/arm64 or linux/arm/v7",
                    printable(text, 80))};
  if (parts.size() == 1) return Platform{"linux", lower_case(parts[0]), {}};
  return Platform{lower_case(parts[0]), lower_case(parts[1]), parts.size() == 3 ? lower_case(parts[2]) : ""};
}

Platform platform_of_machine(std::string_view machine) {
  if (machine == "x86_64") return {"linux", "amd64", {}};
  if (machine == "aarch64") return {"linux", "arm64", {}};
  if (machine.starts_with("armv6")) return {"linux", "arm", "v6"};
  if (machine.starts_with("armv")) return {"linux", "arm", "v7"};
  if (machine == "i686" || machine == "i386") return {"linux", "386", {}};
  return {"linux", std::string(machine), {}};  // riscv64, s390x, ppc64le
}

std::vector<PlatformManifest> platforms_of(std::string_view index) {
  std::vector<PlatformManifest> all;
  const auto json = parse_json(index, {kMostManifestBytes, 32});
  const Json* manifests = json ? json_find(*json, "manifests") : nullptr;
  if (manifests == nullptr || !manifests->is_array()) return all;
  for (const auto& entry : *manifests) {
    if (all.size() >= kMostDescriptors) break;
    const Json* platform = json_find(entry, "platform");
    auto digest = Digest::parse(json_string(entry, "digest"));
    if (platform == nullptr || !digest) continue;
    Platform found{json_string(*platform, "os"), json_string(*platform, "architecture"),
                   json_string(*platform, "variant")};
    const bool is_image = is_word(found.os) && is_word(found.architecture) && found.os != "unknown" &&
                          (found.variant.empty() || is_word(found.variant));
    if (is_image) all.push_back({std::move(found), *digest});
  }
  return all;
}

std::optional<Platform> platform_of_config(std::string_view config) {
  const auto json = parse_json(config, {1u << 20, 32});
  if (!json) return std::nullopt;
  Platform found{json_string(*json, "os"), json_string(*json, "architecture"), json_string(*json, "variant")};
  if (!is_word(found.os) || !is_word(found.architecture)) return std::nullopt;
  if (!is_word(found.variant)) found.variant.clear();
  return found;
}

std::optional<PlatformManifest> choose_platform(const std::vector<PlatformManifest>& all,
                                                const Platform& wanted) {
  const PlatformManifest* best = nullptr;
  for (const auto& entry : all) {
    if (entry.platform.os != wanted.os || entry.platform.architecture != wanted.architecture) continue;
    if (number_of(entry.platform) > number_of(wanted)) continue;
    if (best == nullptr || number_of(entry.platform) > number_of(best->platform)) best = &entry;
  }
  return best == nullptr ? std::nullopt : std::make_optional(*best);
}

}  // namespace layerd::registry
