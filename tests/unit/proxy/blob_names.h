// Names and bytes that the tests of blobs share.
#pragma once

#include <string>

#include "tests/unit/proxy/mirror_fakes.h"

namespace layerd::test {

inline const std::string kApp = "ghcr.io/org/app";

inline std::string url(const Digest& digest) { return "/v2/org/app/blobs/" + digest.str() + "?ns=ghcr.io"; }

inline http::Headers range(std::string value) {
  http::Headers headers;
  headers.add("Range", std::move(value));
  return headers;
}

inline std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i * 7 % 23);
  return bytes;
}

// A blob that is cached and belongs to the repository.
inline Digest keep(MirrorBench& bench, const std::string& bytes) {
  bench.store.add(bytes);
  bench.link(kApp, sha256_of(bytes), bytes.size());
  return sha256_of(bytes);
}

inline Reply confirming(ByteCount size) {
  Reply reply;
  reply.body = std::string(size, 'x');
  return reply;
}

}  // namespace layerd::test
