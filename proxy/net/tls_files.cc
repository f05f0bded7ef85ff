#include "proxy/net/tls_files.h"

#include <dirent.h>
#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "proxy/net/certificate_facts.h"
#include "runtime/guarded_file.h"

namespace layerd::net {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, FreeBio>;

BioPtr memory_of(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Error file_error(std::string message) { return {Errc::config, std::move(message)}; }
Error file_error(const Error& cause) { return {Errc::config, cause.message, cause.sys_errno}; }

std::string last_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "no reason given";
}

bool holds(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }

// What a file is that holds nothing of what was wanted.
Error wrong_content(const std::string& path, const std::string& text, std::string_view wanted) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return file_error(path + " is empty");
  if (text.size() > 2 && text[0] == '\x30' && (static_cast<unsigned char>(text[1]) & 0x80) != 0)
    return file_error(
        fmt::format("{} is in DER form, PEM is needed: openssl x509 -inform der -in {} -out "
                    "FILE (a .p12 or .pfx: openssl pkcs12 -in {} -out FILE -nodes)",
                    path, path, path));
  if (holds(text, "ENCRYPTED"))
    return file_error(
        fmt::format("{} is encrypted and there is nobody to give a passphrase: openssl pkey -in {} -out FILE",
                    path, path));
  if (wanted == "CERTIFICATE" && holds(text, "PRIVATE KEY-----"))
    return file_error(fmt::format("{} holds a private key and no certificate", path));
  if (wanted == "CERTIFICATE" && holds(text, "-----BEGIN CERTIFICATE REQUEST-----"))
    return file_error(fmt::format("{} holds a request for a certificate, not the certificate", path));
  if (wanted != "CERTIFICATE" && holds(text, "-----BEGIN CERTIFICATE-----"))
    return file_error(fmt::format("{} holds a certificate and no private key", path));
  return file_error(fmt::format("{} holds no PEM block (-----BEGIN {}-----)", path, wanted));
}

std::size_t line_of(const std::string& text, std::size_t count, std::string_view begin) {
  std::size_t at = text.find(begin);
  while (at != std::string::npos && count-- > 0) at = text.find(begin, at + begin.size());
  if (at == std::string::npos) return 1;
  return 1 + static_cast<std::size_t>(
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

int no_passphrase(char*, int, int, void*) noexcept { return -1; }

}  // namespace

void FreeCertificate::operator()(x509_st* certificate) const { X509_free(certificate); }
void FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<std::vector<CertificatePtr>> parse_certificates(const std::string& path, const std::string& text) {
  std::vector<CertificatePtr> found;
  const BioPtr bio = memory_of(text);
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr))
    found.emplace_back(certificate);
  const unsigned long code = ERR_peek_last_error();
  const bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (!is_end) {
    Error error = file_error(fmt::format("{} line {}: the certificate that begins there cannot be read: {}",
                                         path, line_of(text, found.size(), "-----BEGIN"), last_reason()));
    ERR_clear_error();
    return error;
  }
  ERR_clear_error();
  if (found.empty()) return wrong_content(path, text, "CERTIFICATE");
  return found;
}

Result<std::vector<CertificatePtr>> read_certificates(const std::string& path) {
  auto text = read_guarded(path, kMostCertificateBytes);
  if (!text) return file_error(text.error());
  return parse_certificates(path, *text);
}

Result<KeyPtr> parse_key(const std::string& path, const std::string& text) {
  const BioPtr bio = memory_of(text);
  ERR_clear_error();
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
  const bool is_broken = !key && holds(text, "PRIVATE KEY-----") && !holds(text, "ENCRYPTED");
  const std::string reason = last_reason();
  ERR_clear_error();
  if (is_broken) return file_error(fmt::format("{}: the private key cannot be read: {}", path, reason));
  if (!key) return wrong_content(path, text, "PRIVATE KEY");
  return key;
}

Result<KeyPtr> read_key(const std::string& path) {
  auto text = read_guarded(path, kMostCertificateBytes);
  if (!text) return file_error(text.error());
  return parse_key(path, *text);
}

Result<ClientCertificate> parse_client_certificate(const PemText& certificates, const PemText& private_key) {
  ClientCertificate client;
  auto chain = parse_certificates(certificates.name, certificates.text);
  if (!chain) return std::move(chain).error();
  auto key = parse_key(private_key.name, private_key.text);
  if (!key) return std::move(key).error();
  const bool fits = X509_check_private_key(chain->front().get(), key->get()) == 1;
  ERR_clear_error();
  if (!fits)
    return file_error(fmt::format("the key in {} does not belong to the certificate in {} (\"{}\")",
                                  private_key.name, certificates.name,
                                  facts_of(chain->front().get()).subject));
  client.chain = std::move(*chain);
  client.key = std::move(*key);
  return client;
}

Result<ClientCertificate> read_client_certificate(const std::string& cert_file, const std::string& key_file) {
  const std::string& key_path = key_file.empty() ? cert_file : key_file;
  auto certificates = read_guarded(cert_file, kMostCertificateBytes);
  if (!certificates) return file_error(certificates.error());
  auto key = read_guarded(key_path, kMostCertificateBytes);
  if (!key) return file_error(key.error());
  return parse_client_certificate({cert_file, std::move(*certificates)}, {key_path, std::move(*key)});
}

Result<std::vector<std::string>> certificate_files_in(const std::string& folder) {
  static constexpr std::array<std::string_view, 3> kEndings{".crt", ".pem", ".cer"};
  DIR* dir = opendir(folder.c_str());
  if (!dir) {
    const bool is_shut = errno == EACCES;
    auto message = errno_error("cannot read the folder " + folder, errno).message;
    if (is_shut)
      message += fmt::format(
          "; {}: the root helper passes files, so layerd must be allowed to list it (chmod o+rx), "
          "or ca_file must name the files",
          owner_of(folder));
    return file_error(std::move(message));
  }
  std::vector<std::string> files;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    const bool fits = std::any_of(kEndings.begin(), kEndings.end(),
                                  [name](std::string_view ending) { return name.ends_with(ending); });
    if (name.starts_with('.') || !fits) continue;
    files.push_back(folder + "/" + std::string(name));
    if (files.size() > kMostFilesOfFolder) break;
  }
  closedir(dir);
  if (files.size() > kMostFilesOfFolder)
    return file_error(fmt::format("{} holds more than {} certificate files; put them into one ca_file",
                                  folder, kMostFilesOfFolder));
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::vector<CertificateFacts>> describe_certificates(const std::string& path) {
  auto certificates = read_certificates(path);
  if (!certificates) return std::move(certificates).error();
  std::vector<CertificateFacts> facts;
  for (const auto& certificate : *certificates) facts.push_back(facts_of(certificate.get()));
  return facts;
}

}  // namespace layerd::net
