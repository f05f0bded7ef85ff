// Error bodies of upstreams, and our own errors made of hostile words: printable and bounded.
#include <cstdint>

#include "proxy/registry/registry_error.h"
#include "runtime/check.h"
#include "runtime/json.h"

namespace {
void check_printable(std::string_view text, std::size_t most) {
  LAYERD_CHECK(text.size() <= most);
  for (char c : text) LAYERD_CHECK(c >= 0x20 && c < 0x7f);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd;
  using namespace layerd::registry;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto upstream = read_error_body(text);
  check_printable(upstream.code, 64);
  check_printable(upstream.message, 200);
  const Error error{static_cast<Errc>(size % 16), text, 0, static_cast<int>(size % 700), text, {}};
  const auto answer = http_error_of(error, static_cast<ErrorSubject>(size % 3));
  check_printable(answer.reason, 200);
  LAYERD_CHECK(!answer.reason.empty());
  LAYERD_CHECK(answer.status >= 400 && answer.status < 600 && answer.status != 429 && answer.status != 401);
  LAYERD_CHECK(parse_json(error_body(answer)).ok());
  return 0;
}
