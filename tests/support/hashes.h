// Digests computed apart from layerd's own code, so that a test does not check the product with itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace layerd::test {

std::string sha256_hex(std::string_view bytes);
std::string sha512_hex(std::string_view bytes);
std::string sha256_digest(std::string_view bytes);  // "sha256:<hex>"
std::string base64(std::string_view bytes);
std::string base64url(std::string_view bytes);  // without padding, as in tokens
std::string unbase64(std::string_view text);    // empty when it is not base64
// The same bytes for the same seed on every machine; they do not compress.
std::string random_bytes(std::size_t count, std::uint64_t seed);

}  // namespace layerd::test
