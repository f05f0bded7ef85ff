#include "cache/layout.h"

#include <fmt/core.h>

namespace layerd::cache {

std::string Layout::blob_folder(DigestAlgorithm algorithm, unsigned first_byte) const {
  return fmt::format("{}/blobs/{}/{:02x}", root_, name_of(algorithm), first_byte & 0xffu);
}

std::string Layout::blob_folder(const Digest& digest) const {
  return blob_folder(digest.algorithm(), static_cast<unsigned char>(digest.raw()[0]));
}

std::string Layout::blob(const Digest& digest) const { return blob_folder(digest) + "/" + digest.hex(); }

std::string Layout::partial(const Digest& digest) const {
  return fmt::format("{}/partial/{}-{}", root_, name_of(digest.algorithm()), digest.hex());
}

std::string Layout::temporary(std::uint64_t number) const {
  return fmt::format("{}/partial/temporary-{}", root_, number);
}

std::optional<Digest> digest_of_partial(const std::string& file_name) {
  std::string text = file_name;
  const std::string_view ending = ".ranges";
  if (text.size() > ending.size() && std::string_view(text).substr(text.size() - ending.size()) == ending)
    text.resize(text.size() - ending.size());
  const auto dash = text.find('-');
  if (dash == std::string::npos) return std::nullopt;
  text[dash] = ':';
  auto digest = Digest::parse(text);
  if (!digest) return std::nullopt;
  return *digest;
}

}  // namespace layerd::cache
