#include "runtime/digest.h"

#include <openssl/evp.h>

namespace layerd {
namespace {

const EVP_MD* method_of(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::sha256 ? EVP_sha256() : EVP_sha512();
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;  // upper case is not canonical (image-spec: lower hex only)
}

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) ? (value >> 1) ^ 0x82F63B78u : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

}  // namespace

std::string_view name_of(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::sha256 ? "sha256" : "sha512";
}

Result<Digest> Digest::parse(std::string_view text) {
  Digest digest;
  std::string_view hex;
  if (text.starts_with("sha256:")) {
    hex = text.substr(7);
  } else if (text.starts_with("sha512:")) {
    digest.algorithm_ = DigestAlgorithm::sha512;
    hex = text.substr(7);
  } else {
    return {Errc::invalid_request, "a digest begins with sha256: or sha512:"};
  }
  const std::size_t size = digest.algorithm_ == DigestAlgorithm::sha256 ? 32 : 64;
  if (hex.size() != 2 * size)
    return {Errc::invalid_request, "a " + std::string(name_of(digest.algorithm_)) + " digest has " +
                                       std::to_string(2 * size) + " hex digits, this one has " +
                                       std::to_string(hex.size())};
  for (std::size_t i = 0; i < size; ++i) {
    const int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return {Errc::invalid_request, "a digest is written in lower-case hex digits"};
    digest.bytes_[i] = static_cast<char>(high << 4 | low);
  }
  return digest;
}

Digest Digest::from_raw(DigestAlgorithm algorithm, ByteView raw) {
  Digest digest;
  digest.algorithm_ = algorithm;
  LAYERD_CHECK(raw.size() == digest.raw().size());
  std::copy(raw.begin(), raw.end(), digest.bytes_.begin());
  return digest;
}

std::string Digest::hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(128);
  for (char c : raw()) {
    text += kDigits[(static_cast<unsigned char>(c) >> 4) & 15];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::string Digest::str() const { return std::string(name_of(algorithm_)) + ":" + hex(); }

struct Hasher::Context {
  Context() : evp(EVP_MD_CTX_new()) { LAYERD_CHECK(evp != nullptr); }
  ~Context() { EVP_MD_CTX_free(evp); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  EVP_MD_CTX* evp;
};

Hasher::Hasher(DigestAlgorithm algorithm) : algorithm_(algorithm), context_(std::make_unique<Context>()) {
  LAYERD_CHECK(EVP_DigestInit_ex(context_->evp, method_of(algorithm), nullptr) == 1);
}
Hasher::Hasher(const Hasher& other) : algorithm_(other.algorithm_), context_(std::make_unique<Context>()) {
  LAYERD_CHECK(EVP_MD_CTX_copy_ex(context_->evp, other.context_->evp) == 1);
}
Hasher& Hasher::operator=(const Hasher& other) {
  if (this != &other) *this = Hasher(other);
  return *this;
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(ByteView bytes) {
  LAYERD_CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

Digest Hasher::finish() const {
  Hasher copy(*this);
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  LAYERD_CHECK(EVP_DigestFinal_ex(copy.context_->evp, out.data(), &size) == 1);
  return Digest::from_raw(algorithm_, {reinterpret_cast<const char*>(out.data()), size});
}

Digest digest_of(DigestAlgorithm algorithm, ByteView bytes) {
  Hasher hasher(algorithm);
  hasher.update(bytes);
  return hasher.finish();
}

std::uint32_t checksum32(ByteView bytes) {
  std::uint32_t value = 0xFFFFFFFFu;
  for (char c : bytes) value = kCrcTable[(value ^ static_cast<unsigned char>(c)) & 0xFF] ^ (value >> 8);
  return value ^ 0xFFFFFFFFu;
}

}  // namespace layerd
