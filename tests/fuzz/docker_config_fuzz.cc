// A docker config and, behind a line "%%%", a repository it is asked for. Whatever is chosen can be
// sent, and what is not chosen is explained.
#include <cstdint>

#include "proxy/registry/docker_config.h"
#include "proxy/registry/text.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find("\n%%%\n");
  const auto config = parse_docker_config(std::string_view(text).substr(0, cut), "fuzz.json");
  static_cast<void>(decode_base64(text));
  if (!config) {
    LAYERD_CHECK(config.error().message.starts_with("fuzz.json: "));
    return 0;
  }
  RegistryPlace place{"reg.example", 443, true, "team/app"};
  if (cut != std::string::npos) place.path = text.substr(cut + 5);
  for (const auto& entry : config->auths) {
    place.host = entry.where.host;
    place.is_default_port = !entry.where.port;
    place.port = entry.where.port.value_or(443);
    const auto choice = choose(*config, place);
    if (choice.kind == DockerChoice::Kind::credentials) LAYERD_CHECK(flaw_of(choice.credentials).empty());
    if (choice.kind == DockerChoice::Kind::helper) LAYERD_CHECK(is_helper_name(choice.helper));
    if (choice.kind == DockerChoice::Kind::none) LAYERD_CHECK(!choice.said.empty());
  }
  return 0;
}
