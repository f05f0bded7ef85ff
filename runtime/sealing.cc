#include "runtime/sealing.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <memory>

#include "runtime/file.h"
#include "runtime/log.h"

namespace layerd {
namespace {

constexpr std::size_t kSecretBytes = 32, kNonceBytes = 12, kTagBytes = 16;

unsigned char* raw(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* raw(ByteView text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  LAYERD_CHECK(RAND_bytes(raw(bytes), static_cast<int>(count)) == 1);
  return bytes;
}

std::string hmac(ByteView key, ByteView text) {
  std::string out(kSecretBytes, '\0');
  unsigned int size = 0;
  LAYERD_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(text), text.size(), raw(out),
                    &size) != nullptr);
  LAYERD_CHECK(size == kSecretBytes);
  return out;
}

std::string hex_of(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    text += kDigits[(static_cast<unsigned char>(c) >> 4) & 15];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
Context new_context() {
  Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  LAYERD_CHECK(context);
  return context;
}

}  // namespace

SealingKey::SealingKey(ByteView secret) : sealing_(hmac(secret, "seal")), naming_(hmac(secret, "name")) {}

SealingKey SealingKey::temporary() { return SealingKey(random_bytes(kSecretBytes)); }

Result<SealingKey> SealingKey::load_or_make(const std::string& path) {
  auto kept = read_file(path, 4096);
  if (kept && kept->size() == kSecretBytes) {
    ::chmod(path.c_str(), 0600);  // whoever copied it here may have left it open to others
    return SealingKey(*kept);
  }
  if (!kept && kept.error().sys_errno != ENOENT) return std::move(kept).error();
  if (kept)
    LogLine(LogLevel::warn, "key_replaced")
        .field("path", path)
        .field("err", "this file is no key of layerd; a new one is made, clients ask for new handles");
  const std::string secret = random_bytes(kSecretBytes);
  if (auto written = replace_file(path, secret, 0600); !written) return std::move(written).error();
  return SealingKey(secret);
}

std::string SealingKey::name_of(ByteView text) const { return hex_of(hmac(naming_, text)); }

std::string SealingKey::seal(ByteView plain) const {
  std::string out = random_bytes(kNonceBytes);
  out.resize(kNonceBytes + plain.size() + kTagBytes);
  const auto context = new_context();
  unsigned char* const body = raw(out) + kNonceBytes;
  int size = 0, more = 0;
  LAYERD_CHECK(
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(ByteView(sealing_)), raw(out)) == 1);
  LAYERD_CHECK(EVP_EncryptUpdate(context.get(), body, &size, raw(plain), static_cast<int>(plain.size())) ==
               1);
  LAYERD_CHECK(EVP_EncryptFinal_ex(context.get(), body + size, &more) == 1);
  LAYERD_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, body + plain.size()) == 1);
  return out;
}

std::optional<std::string> SealingKey::open(ByteView sealed) const {
  if (sealed.size() < kNonceBytes + kTagBytes || sealed.size() > 1_MiB) return std::nullopt;
  const auto body = sealed.substr(kNonceBytes, sealed.size() - kNonceBytes - kTagBytes);
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  std::string plain(body.size() + 1, '\0');
  const auto context = new_context();
  int size = 0, more = 0;
  const bool good =
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(ByteView(sealing_)), raw(sealed)) ==
          1 &&
      EVP_DecryptUpdate(context.get(), raw(plain), &size, raw(body), static_cast<int>(body.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, raw(tag)) == 1 &&
      EVP_DecryptFinal_ex(context.get(), raw(plain) + size, &more) == 1;
  if (!good) return std::nullopt;
  plain.resize(body.size());
  return plain;
}

}  // namespace layerd
