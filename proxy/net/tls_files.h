// Certificates and keys in files: what TLS contexts are built from, and what `config --check` looks at
// before. Worker side or start-up: every function reads files. Errors name the file, what is wrong with
// it, and what would be right; their code is config, sys_errno that
// of a file that cannot be read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/peer_certificates.h"
#include "runtime/result.h"

struct x509_st;
struct evp_pkey_st;

namespace layerd::net {

struct FreeCertificate {
  void operator()(x509_st* certificate) const;
};
using CertificatePtr = std::unique_ptr<x509_st, FreeCertificate>;
struct FreeKey {
  void operator()(evp_pkey_st* key) const;
};
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;

inline constexpr std::size_t kMostCertificateBytes = 16u << 20;
inline constexpr std::size_t kMostFilesOfFolder = 1000;

// All certificates of a PEM text, in its order; at least one. `name` is what errors call it.
Result<std::vector<CertificatePtr>> parse_certificates(const std::string& name, const std::string& text);
// The private key of a PEM text without a passphrase.
Result<KeyPtr> parse_key(const std::string& name, const std::string& text);

// All certificates of a PEM file, in its order; at least one.
Result<std::vector<CertificatePtr>> read_certificates(const std::string& path);
// The private key of a PEM file without a passphrase.
Result<KeyPtr> read_key(const std::string& path);
// The certificates of cert_file, if the key belongs to the first. key_file empty: it stands in cert_file.
struct ClientCertificate {
  std::vector<CertificatePtr> chain;
  KeyPtr key;
};
Result<ClientCertificate> read_client_certificate(const std::string& cert_file, const std::string& key_file);
// The same of a PEM text.
struct PemText {
  std::string name, text;
};
Result<ClientCertificate> parse_client_certificate(const PemText& certificates, const PemText& key);
// The *.crt, *.pem and *.cer of a folder, sorted; hidden ones (the "..data" of Kubernetes) left out.
// Errors: not a folder, unreadable, more than kMostFilesOfFolder files.
Result<std::vector<std::string>> certificate_files_in(const std::string& folder);

// Of the certificates in a file: plain values, for who has no business with OpenSSL.
Result<std::vector<CertificateFacts>> describe_certificates(const std::string& path);

}  // namespace layerd::net
