// A secret key of this node: seals small values that others carry for us, and makes names that tell
// nothing. AES-256-GCM and HMAC-SHA256 with two keys drawn from one secret. Any thread.
#pragma once

#include <optional>
#include <string>

#include "runtime/bytes.h"
#include "runtime/result.h"

namespace layerd {

class SealingKey {
 public:
  // The secret kept in `path` (0600), made when there is none or when what is there is no key: what
  // was sealed under another key cannot be opened any more. Errors: local_io, no_space. Blocks.
  static Result<SealingKey> load_or_make(const std::string& path);
  // A secret that lives as long as this process.
  static SealingKey temporary();

  // 64 hex digits; the same for the same text, telling nothing of it.
  std::string name_of(ByteView text) const;
  // Differs at each call; 28 bytes longer than `plain`.
  std::string seal(ByteView plain) const;
  // Nothing: it was not sealed under this key, or was changed.
  std::optional<std::string> open(ByteView sealed) const;

 private:
  explicit SealingKey(ByteView secret);
  std::string sealing_, naming_;  // 32 bytes each
};

}  // namespace layerd
