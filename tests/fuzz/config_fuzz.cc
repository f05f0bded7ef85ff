// The configuration and the registries file (behind a line "%%%"). Without an error there are
// settings, and what is printed of them is a configuration again.
#include <cstdint>

#include "daemon/config.h"
#include "daemon/settings_table.h"
#include "proxy/registry/rules.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd;
  using namespace layerd::daemon;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find("\n%%%\n");
  const std::string second = cut == std::string::npos ? "" : text.substr(cut + 5);
  const ReadText read = [&](const std::string&) -> Result<std::string> { return second; };
  const LoadOptions options{.must_exist = true, .check_files = false};
  const auto loaded = parse_config("fuzz.yaml", text.substr(0, cut), read, options);
  LAYERD_CHECK(loaded.ok() == (loaded.settings != nullptr));
  if (!loaded.ok()) return 0;
  static_cast<void>(loaded.settings->compiled_rules->resolve("docker.io", "library/nginx"));
  const auto again = parse_config("again.yaml", print_settings(*loaded.settings), read, options);
  LAYERD_CHECK(again.ok());
  return 0;
}
