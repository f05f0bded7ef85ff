// Any bytes as a containerd hosts.toml: parsed or refused, with a line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxy/net/hosts_toml.h"
#include "proxy/net/proxy_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = layerd::net::parse_hosts_toml(text);
  if (!parsed && parsed.error().message.rfind("line ", 0) != 0) std::abort();
  // The same bytes as a proxy's URL and as no_proxy: a password never shows in what is said of them.
  if (const auto proxy = layerd::net::parse_proxy(text); proxy && proxy->host.empty()) std::abort();
  layerd::net::NoProxy exceptions;
  if (exceptions.add(text)) static_cast<void>(exceptions.covers("10.0.0.1", 443));
  return 0;
}
