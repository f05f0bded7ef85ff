// Fields: one JSON object of a message, read with bounds; the first field that does not fit is remembered and
// named. Only for proxy/peers/messages*.cc. Pure.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/peers/messages.h"
#include "runtime/json.h"

namespace layerd::peers {

// Bounds of what a message may hold, beside kMostMessage (docs/peers.md, "Messages").
inline constexpr std::size_t kMostIds = 32;          // of any list of members
inline constexpr std::size_t kMostSources = 4;       // that a coordinator names
inline constexpr std::size_t kMostHolders = 8;       // of a whole blob
inline constexpr std::size_t kMostTold = 64;         // entries of one kind in a Tell
inline constexpr std::size_t kMostHave = 512;        // digests in a Tell
inline constexpr std::size_t kMostProofs = 768;      // unit hashes in a WhoAnswer: blobs up to 6 GiB
inline constexpr std::size_t kMostZone = 63;         // bytes
inline constexpr std::size_t kMostMediaType = 127;   // bytes
inline constexpr unsigned kMostHops = 3;             // redirects
inline constexpr ByteCount kMostBytes = 1ull << 50;  // of a blob
inline constexpr std::uint32_t kMostUnit = (1u << 31) - 1;
inline constexpr Duration kMostWait = std::chrono::seconds(60);

// A numeric address and port as Address::str() writes it: nothing else is an id.
bool is_member_id(std::string_view text);
inline bool contains(const std::vector<std::string>& ids, std::string_view id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

class Fields {
 public:
  // `object` outlives this.
  explicit Fields(const Json& object);

  // What is absent reads as empty, zero or false, but for `required`.
  std::string text(const char* key, std::size_t most);
  std::uint64_t number(const char* key, std::uint64_t most);
  std::uint64_t required_number(const char* key, std::uint64_t most);
  std::optional<ByteCount> size(const char* key);
  bool flag(const char* key);
  Duration milliseconds(const char* key);
  Digest digest(const char* key);
  std::optional<Digest> sha256(const char* key);  // 64 lower hex digits
  std::string id(const char* key);
  std::string id_or_none(const char* key) { return find(key) == nullptr ? std::string{} : id(key); }
  std::vector<std::string> ids(const char* key, std::size_t most);
  std::vector<Digest> digests(const char* key, std::size_t most);
  std::vector<Digest> hashes(const char* key, std::size_t most);  // hex, one behind the other
  Rights rights(const char* key);
  std::string registry();
  std::string repository();
  BlobName blob();
  UnitName unit();
  const Json* object(const char* key);  // null when absent
  // The list of objects under `key`; empty when absent.
  std::vector<const Json*> objects(const char* key, std::size_t most);

  void refuse(const char* key, std::string_view why);
  void refuse(const Error& error);
  bool failed() const { return error_.has_value(); }
  // The message, or what did not fit.
  template <class Message>
  Result<Message> end(Message message) {
    if (error_) return *std::move(error_);
    return message;
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  const Json* find(const char* key) const { return json_find(object_, key); }

  const Json& object_;
  std::optional<Error> error_;
};

std::string_view word_of(Rights rights);

}  // namespace layerd::peers
