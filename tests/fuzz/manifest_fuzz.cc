// Manifests: the first line is the Content-Type, the rest the bytes.
#include <cstdint>

#include "proxy/registry/manifest.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto newline = text.find('\n');
  if (newline == std::string_view::npos) return 0;
  const auto manifest = parse_manifest(text.substr(newline + 1), text.substr(0, newline));
  if (!manifest) return 0;
  LAYERD_CHECK(!manifest->media_type.empty());
  LAYERD_CHECK(manifest->descriptors.size() <= kMostDescriptors);
  return 0;
}
