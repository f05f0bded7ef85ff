// Image names as people write them, and patterns over them. A name that is accepted reads back as itself.
#include <cstdint>

#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto image = parse_image_name(text)) {
    const auto again = parse_image_name(image->str());
    LAYERD_CHECK(again.ok());
    LAYERD_CHECK(again->str() == image->str());
    LAYERD_CHECK(!image->reference().empty());
  }
  const auto newline = text.find('\n');
  if (newline == std::string_view::npos) return 0;
  if (const auto pattern = Pattern::compile(text.substr(0, newline))) {
    const auto subject = text.substr(newline + 1);
    LAYERD_CHECK(pattern->match(subject).has_value() == pattern->matches(subject));
  }
  return 0;
}
