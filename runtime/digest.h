// Digests of blobs: sha256 and sha512 (OCI image-spec, descriptor.md "Digests"). Any thread.
#pragma once

#include <array>
#include <compare>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/bytes.h"
#include "runtime/result.h"

namespace layerd {

enum class DigestAlgorithm : std::uint8_t { sha256, sha512 };
std::string_view name_of(DigestAlgorithm algorithm);

class Digest {
 public:
  Digest() = default;  // sha256 of nothing useful: all zero
  // "sha256:<64 lower hex>" or "sha512:<128 lower hex>"; anything else is invalid_request.
  static Result<Digest> parse(std::string_view text);
  // raw: 32 bytes for sha256, 64 for sha512.
  static Digest from_raw(DigestAlgorithm algorithm, ByteView raw);

  DigestAlgorithm algorithm() const { return algorithm_; }
  ByteView raw() const { return {bytes_.data(), algorithm_ == DigestAlgorithm::sha256 ? 32u : 64u}; }
  std::string hex() const;
  std::string str() const;  // "sha256:…"
  auto operator<=>(const Digest&) const = default;
  bool operator==(const Digest&) const = default;

 private:
  DigestAlgorithm algorithm_ = DigestAlgorithm::sha256;
  std::array<char, 64> bytes_{};
};

// A running hash. Copyable: the copy goes on from the same state. One thread at a time.
class Hasher {
 public:
  explicit Hasher(DigestAlgorithm algorithm);
  Hasher(const Hasher& other);
  Hasher& operator=(const Hasher& other);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void update(ByteView bytes);
  Digest finish() const;  // the digest so far; update() may go on afterwards

 private:
  struct Context;
  DigestAlgorithm algorithm_;
  std::unique_ptr<Context> context_;
};

Digest digest_of(DigestAlgorithm algorithm, ByteView bytes);
// crc32c-like checksum for our own records (not a digest): 32 bit, any length.
std::uint32_t checksum32(ByteView bytes);

}  // namespace layerd

template <>
struct std::hash<layerd::Digest> {
  std::size_t operator()(const layerd::Digest& digest) const noexcept {
    std::size_t value;
    std::memcpy(&value, digest.raw().data(), sizeof value);
    return value;
  }
};
