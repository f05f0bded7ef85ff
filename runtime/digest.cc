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

void write_hex(std::string_view bytes, char* out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (char c : bytes) {
    *out++ = kDigits[(static_cast<unsigned char>(c) >> 4) & 15];
    *out++ = kDigits[static_cast<unsigned char>(c) & 15];
  }
}

// Row 0 is the table of the plain algorithm; row n says what a byte does n places further on, so that
// eight bytes are taken in one step.
constexpr auto make_crc_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) ? (value >> 1) ^ 0x82F63B78u : value >> 1;
    tables[0][i] = value;
  }
  for (std::size_t row = 1; row < tables.size(); ++row)
    for (std::size_t i = 0; i < 256; ++i)
      tables[row][i] = (tables[row - 1][i] >> 8) ^ tables[0][tables[row - 1][i] & 0xFF];
  return tables;
}
constexpr auto kCrc = make_crc_tables();

std::uint32_t little_endian(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

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
  const std::string_view bytes = raw();
  std::string text(2 * bytes.size(), '\0');
  write_hex(bytes, text.data());
  return text;
}

std::string Digest::str() const {
  const std::string_view name = name_of(algorithm_), bytes = raw();
  std::string text(name.size() + 1 + 2 * bytes.size(), ':');
  std::copy(name.begin(), name.end(), text.begin());
  write_hex(bytes, text.data() + name.size() + 1);
  return text;
}

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
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    const std::uint32_t low = value ^ little_endian(bytes.data());
    const std::uint32_t high = little_endian(bytes.data() + 4);
    value = kCrc[7][low & 0xFF] ^ kCrc[6][low >> 8 & 0xFF] ^ kCrc[5][low >> 16 & 0xFF] ^ kCrc[4][low >> 24] ^
            kCrc[3][high & 0xFF] ^ kCrc[2][high >> 8 & 0xFF] ^ kCrc[1][high >> 16 & 0xFF] ^
            kCrc[0][high >> 24];
  }
  for (char c : bytes) value = kCrc[0][(value ^ static_cast<unsigned char>(c)) & 0xFF] ^ (value >> 8);
  return value ^ 0xFFFFFFFFu;
}

}  // namespace layerd
