// Site secrets: what a member of a site knows and nobody else. Pure but for read and make; any thread.
//
// A secret's bytes never leave this class; OpenSSL gets a key derived from it, and `name` (derived as well)
// says in the clear which of a site's secrets is meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::net {

class PeerSecret {
 public:
  static constexpr std::size_t kLeastBytes = 32;
  static constexpr std::size_t kMostBytes = 256;
  static constexpr std::size_t kMostSecrets = 2;
  static constexpr std::size_t kMostFile = 8192;

  // One line: base64 or hex. Errors: config; what is wrong with it, never a part of it.
  static Result<PeerSecret> parse(std::string_view line);
  // The lines of a file; empty ones and those that begin with '#' are passed over. 1 or 2 secrets: the first
  // is offered, all are accepted. Errors: config, naming the line.
  static Result<std::vector<PeerSecret>> parse_all(std::string_view text);
  // The same of a file, which only its owner and group may read. Errors: config, naming the file and the
  // remedy; sys_errno where it cannot be read. Blocks.
  static Result<std::vector<PeerSecret>> read(const std::string& path);
  // A line for such a file: 32 random bytes in base64, without a line end.
  static std::string make();

  const std::string& name() const { return name_; }  // 16 hex digits; tells nothing of the secret
  const std::string& key() const { return key_; }    // 32 bytes for TLS
  ~PeerSecret();
  PeerSecret(const PeerSecret&) = default;
  PeerSecret& operator=(const PeerSecret&) = default;

 private:
  explicit PeerSecret(std::string_view bytes);
  std::string name_, key_;
};

}  // namespace layerd::net
