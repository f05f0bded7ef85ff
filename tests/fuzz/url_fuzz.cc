// URLs, redirects and endpoints. What is accepted can be written and read again.
#include <cstdint>

#include "proxy/registry/mirror_endpoint.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd::registry;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Url base{"https", "registry.example", 443, "/v2/a/b", {}};
  for (const auto& url : {parse_url(text), resolve_url(base, text), parse_endpoint(text)}) {
    if (!url) {
      for (char c : url.error().message) LAYERD_CHECK(c >= 0x20 && c < 0x7f);
      continue;
    }
    LAYERD_CHECK(url->scheme == "http" || url->scheme == "https");
    LAYERD_CHECK(!url->host.empty() && url->port != 0);
    const auto again = resolve_url(base, url->str());
    LAYERD_CHECK(again.ok());
    LAYERD_CHECK(again->same_origin(*url));
  }
  return 0;
}
