#include "tests/support/token_server.h"

#include <fmt/core.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <ctime>
#include <memory>
#include <stdexcept>

#include "tests/support/hashes.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

// The base64 of the DER is what stands between the PEM lines.
std::string der_base64(const std::string& pem) {
  static const std::string kBegin = "-----BEGIN CERTIFICATE-----", kEnd = "-----END CERTIFICATE-----";
  const std::size_t begin = pem.find(kBegin) + kBegin.size();
  std::string text = pem.substr(begin, pem.find(kEnd) - begin);
  std::erase(text, '\n');
  return text;
}

// ES256 wants the two numbers side by side, 32 bytes each; OpenSSL gives DER.
std::string raw_signature(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), ECDSA_SIG_free);
  std::string raw(64, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + 32, 32);
  return raw;
}

std::string es256(const std::string& text, const std::string& key_file) {
  const std::string pem = read_text(key_file);
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                BIO_free);
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string der(256, '\0');
  std::size_t size = der.size();
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(der.data()), &size,
                     reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1) {
    throw std::runtime_error("cannot sign with " + key_file);
  }
  der.resize(size);
  return raw_signature(der);
}

}  // namespace

TokenServer::TokenServer(Certificate signer, std::string service, std::string user, std::string password)
    : signer_(std::move(signer)),
      service_(std::move(service)),
      authorization_(user.empty() ? "" : "Basic " + base64(user + ":" + password)),
      server_([this](const ServerRequest& request, ServerConnection& connection) {
        return handle(request, connection);
      }) {}

std::string TokenServer::realm() const { return fmt::format("http://127.0.0.1:{}/token", server_.port()); }

bool TokenServer::handle(const ServerRequest& request, ServerConnection& connection) {
  ++requests_;
  const bool known = authorization_.empty() || request.header("authorization") == authorization_;
  const std::string body =
      known ? fmt::format(R"({{"token":"{}","expires_in":300}})", token_for(request.query("scope")))
            : R"({"errors":[{"code":"UNAUTHORIZED","message":"wrong account"}]})";
  return connection.write(
      fmt::format("HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                  known ? "200 OK" : "401 Unauthorized", body.size(), body));
}

std::string TokenServer::token_for(const std::string& scope) const {
  std::string access;
  const std::size_t first = scope.find(':'), last = scope.rfind(':');
  if (first != std::string::npos && last > first) {
    access = fmt::format(R"({{"type":"repository","name":"{}","actions":["pull"]}})",
                         scope.substr(first + 1, last - first - 1));
  }
  const std::string head =
      fmt::format(R"({{"typ":"JWT","alg":"ES256","x5c":["{}"]}})", der_base64(read_text(signer_.cert_file)));
  const auto now = std::time(nullptr);
  const std::string claims = fmt::format(
      R"({{"iss":"{}","sub":"test","aud":"{}","exp":{},"nbf":{},"iat":{},"jti":"{}","access":[{}]}})",
      kIssuer, service_, now + 300, now - 10, now, sha256_hex(scope).substr(0, 16), access);
  const std::string text = base64url(head) + "." + base64url(claims);
  return text + "." + base64url(es256(text, signer_.key_file));
}

}  // namespace layerd::test
