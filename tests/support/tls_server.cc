#include "tests/support/tls_server.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/check.h"

namespace layerd::test {
namespace {

template <class Write>
std::string pem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

template <class T, class Read>
T* from_pem(const std::string& text, Read read) {
  BIO* bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
  T* value = read(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return value;
}

void extend(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  LAYERD_CHECK(extension);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::vector<X509*> chain_of(const std::string& text) {
  std::vector<X509*> chain;
  BIO* bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
  while (X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) chain.push_back(certificate);
  BIO_free(bio);
  return chain;
}

}  // namespace

Identity Identity::make(const CertificateWish& wish, const Identity* issuer) {
  static std::atomic<long> serial{1000};
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_time_adj_ex(X509_getm_notBefore(certificate), wish.from_days, 0, nullptr);
  X509_time_adj_ex(X509_getm_notAfter(certificate), wish.to_days, 0, nullptr);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1, -1, 0);
  X509* parent = issuer ? from_pem<X509>(issuer->certificate, PEM_read_bio_X509) : nullptr;
  EVP_PKEY* signer = issuer ? from_pem<EVP_PKEY>(issuer->key, PEM_read_bio_PrivateKey) : nullptr;
  X509_set_issuer_name(certificate, parent ? X509_get_subject_name(parent) : name);
  extend(certificate, NID_basic_constraints, wish.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
  std::string names;
  for (const std::string& entry : wish.names) names += (names.empty() ? "" : ",") + entry;
  if (!names.empty()) extend(certificate, NID_subject_alt_name, names);
  if (wish.names_issuer_url)
    extend(certificate, NID_info_access, "caIssuers;URI:http://ca.example/issuer.crt");
  X509_sign(certificate, signer ? signer : key, EVP_sha256());
  Identity made{pem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); }), pem([&](BIO* bio) {
                  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
                })};
  X509_free(certificate);
  X509_free(parent);
  EVP_PKEY_free(key);
  EVP_PKEY_free(signer);
  return made;
}

struct TlsServer::Context {
  SSL_CTX* raw = SSL_CTX_new(TLS_server_method());
  ~Context() { SSL_CTX_free(raw); }
};

TlsServer::TlsServer(const TlsServerSettings& settings, Talk talk)
    : context_(std::make_unique<Context>()), talk_(std::move(talk)) {
  SSL_CTX* raw = context_->raw;
  auto chain = chain_of(settings.chain);
  EVP_PKEY* key = from_pem<EVP_PKEY>(settings.key, PEM_read_bio_PrivateKey);
  LAYERD_CHECK(!chain.empty() && key);
  SSL_CTX_use_certificate(raw, chain[0]);
  SSL_CTX_use_PrivateKey(raw, key);
  for (std::size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(raw, chain[i]);
  for (X509* certificate : chain) X509_free(certificate);
  EVP_PKEY_free(key);
  if (settings.most_version != 0) {
    SSL_CTX_set_security_level(raw, 0);
    SSL_CTX_set_min_proto_version(raw, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(raw, settings.most_version);
  }
  const unsigned char id[] = "layerd-test";
  SSL_CTX_set_session_id_context(raw, id, sizeof id - 1);
  if (!settings.client_ca.empty()) {
    for (X509* certificate : chain_of(settings.client_ca)) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), certificate);
      X509_free(certificate);
    }
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  LAYERD_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  LAYERD_CHECK(listen(listener_, 16) == 0);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

TlsServer::~TlsServer() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
  {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& talk : talks_) talk.join();
}

std::string TlsServer::last_sni() {
  std::lock_guard lock(mutex_);
  return sni_;
}

void TlsServer::serve() {
  while (!stopping_) {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd >= 0) talks_.emplace_back([this, fd] { serve_one(fd); });
  }
}

void TlsServer::serve_one(int fd) {
  {
    std::lock_guard lock(mutex_);
    open_.push_back(fd);
  }
  SSL* ssl = SSL_new(context_->raw);
  SSL_set_fd(ssl, fd);
  if (SSL_accept(ssl) == 1) {
    const char* sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    {
      std::lock_guard lock(mutex_);
      sni_ = sni ? sni : "";
    }
    resumed_ += SSL_session_reused(ssl);
    ++handshakes_;
    Line line{[ssl](char* into, std::size_t most) {
                const int n = SSL_read(ssl, into, static_cast<int>(most));
                return n > 0 ? static_cast<std::size_t>(n) : 0;
              },
              [ssl](const void* from, std::size_t size) {
                return SSL_write(ssl, from, static_cast<int>(size)) > 0;
              }};
    talk_(line);
    SSL_shutdown(ssl);
  }
  SSL_free(ssl);
  ::shutdown(fd, SHUT_WR);
  char scratch[4096];
  while (::recv(fd, scratch, sizeof scratch, 0) > 0) {
  }
  std::lock_guard lock(mutex_);
  std::erase(open_, fd);
  ::close(fd);
}

}  // namespace layerd::test
