#include "proxy/net/peer_trust.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/peer_stream.h"
#include "proxy/net/tls_files.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostNames = 50;
// A site secret is bound to SHA-256, and of the suites with it everybody has this one.
constexpr const char* kSuite = "TLS_AES_128_GCM_SHA256";
// No second flight: both ends know these.
constexpr const char* kGroups = "X25519:P-256";

Error bad(std::string_view key, std::string_view what) {
  return {Errc::config, fmt::format("{}: {}", key, what)};
}
Error bad(std::string_view key, const Error& cause) {
  return {Errc::config, fmt::format("{}: {}", key, cause.message), cause.sys_errno};
}

bool is_sound(std::string_view name) {
  return !name.empty() && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string text_in(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string ip_in(const ASN1_OCTET_STRING* ip) {
  char text[INET6_ADDRSTRLEN] = "";
  const int size = ASN1_STRING_length(ip);
  if (size != 4 && size != 16) return {};
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof text);
  return text;
}

}  // namespace

CertificateNames names_of(X509* certificate) {
  CertificateNames found;
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && found.all.size() < kMostNames; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    if (name->type == GEN_DNS) text = text_in(name->d.dNSName);
    if (name->type == GEN_URI) text = text_in(name->d.uniformResourceIdentifier);
    if (name->type == GEN_IPADD) text = ip_in(name->d.iPAddress);
    if (!is_sound(text)) continue;
    if (name->type == GEN_IPADD) found.ips.push_back(text);
    found.all.push_back(std::move(text));
  }
  return found;
}

PeerTrust::PeerTrust(PeerIdentitySettings settings)
    : settings_(std::move(settings)),
      client_(SSL_CTX_new(TLS_client_method())),
      server_(SSL_CTX_new(TLS_server_method())),
      transport_(new_tls_transport()) {
  LAYERD_CHECK(client_ && server_ && transport_);
  prepare(client_);
  prepare(server_);
  // A ticket would outlive the secret it came from.
  SSL_CTX_set_num_tickets(server_, 0);
  SSL_CTX_set_alpn_select_cb(server_, &PeerStream::on_choose_protocol, nullptr);
  std::string offered = kPeerAlpn;
  offered.insert(offered.begin(), static_cast<char>(offered.size()));
  SSL_CTX_set_alpn_protos(client_, reinterpret_cast<const unsigned char*>(offered.data()),
                          static_cast<unsigned>(offered.size()));
}

PeerTrust::~PeerTrust() {
  SSL_CTX_free(client_);
  SSL_CTX_free(server_);
  BIO_meth_free(transport_);
}

void PeerTrust::prepare(SSL_CTX* context) const {
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  LAYERD_CHECK(SSL_CTX_set_ciphersuites(context, kSuite) == 1);
  LAYERD_CHECK(SSL_CTX_set1_groups_list(context, kGroups) == 1);
  // Whatever is in ca_file is trusted, also an intermediate; nothing else is.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
}

Result<PeerTrustPtr> PeerTrust::build(const PeerIdentitySettings& settings) {
  std::shared_ptr<PeerTrust> trust(new PeerTrust(settings));
  if (auto loaded = trust->load(); !loaded) return std::move(loaded).error();
  return PeerTrustPtr(std::move(trust));
}

Result<Ok> PeerTrust::load() {
  if (!is_site_name(settings_.site))
    return bad("peers.site", "up to 63 letters, digits, '.', '-' and '_' are a site's name");
  if (!settings_.is_set())
    return bad("peers",
               "members must know each other: set peers.secret_file (layerd peers secret -o FILE) "
               "or peers.tls");
  SSL_CTX_set_verify(client_, SSL_VERIFY_PEER, &PeerStream::on_verify);
  if (!settings_.secret_file.empty()) {
    files_.push_back(FileStamp::of_guarded(settings_.secret_file));
    auto secrets = PeerSecret::read(settings_.secret_file);
    if (!secrets) return std::move(secrets).error();
    secrets_ = std::move(*secrets);
    SSL_CTX_set_psk_use_session_callback(client_, &PeerStream::on_offer_secret);
    SSL_CTX_set_psk_find_session_callback(server_, &PeerStream::on_find_secret);
  }
  return settings_.has_certificates() ? load_certificates() : Result<Ok>(Ok{});
}

Result<Ok> PeerTrust::load_certificates() {
  if (settings_.cert_file.empty() || settings_.ca_file.empty())
    return bad("peers.tls", "cert_file, key_file and ca_file go together");
  if (settings_.names.empty())
    return bad("peers.tls.names",
               "missing: which names the certificates of members have; without it every "
               "certificate of the authority would be a member");
  for (const std::string& pattern : settings_.names) {
    if (auto checked = check_name_pattern(pattern); !checked)
      return bad("peers.tls.names", checked.error().message);
  }
  for (const std::string& path : {settings_.cert_file, settings_.key_file, settings_.ca_file})
    if (!path.empty()) files_.push_back(FileStamp::of_guarded(path));
  auto own = read_client_certificate(settings_.cert_file, settings_.key_file);
  if (!own) return bad("peers.tls", own.error());
  auto authorities = read_certificates(settings_.ca_file);
  if (!authorities) return bad("peers.tls.ca_file", authorities.error());
  own_ = facts_of(own->chain.front().get()).fingerprint;
  for (const auto& authority : *authorities) authorities_.push_back(facts_of(authority.get()).fingerprint);
  for (SSL_CTX* context : {client_, server_}) {
    SSL_CTX_use_certificate(context, own->chain.front().get());
    SSL_CTX_use_PrivateKey(context, own->key.get());
    for (std::size_t i = 1; i < own->chain.size(); ++i) SSL_CTX_add1_chain_cert(context, own->chain[i].get());
    for (const auto& authority : *authorities)
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
  }
  SSL_CTX_set_verify(server_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &PeerStream::on_verify);
  return Ok{};
}

const PeerSecret* PeerTrust::find_secret(const std::string& name) const {
  const auto found = std::find_if(secrets_.begin(), secrets_.end(),
                                  [&](const PeerSecret& one) { return one.name() == name; });
  return found == secrets_.end() ? nullptr : &*found;
}

std::string PeerTrust::verdict_on(const PeerGround& ground, WallTime now) const {
  if (ground.site != settings_.site) return "this node belongs to another site now";
  if (!ground.secret.empty())
    return find_secret(ground.secret) ? "" : fmt::format("the site secret {} was removed", ground.secret);
  if (ground.own != own_) return "our certificate was replaced";
  if (std::find(authorities_.begin(), authorities_.end(), ground.authority) == authorities_.end())
    return "its authority was removed from peers.tls.ca_file";
  if (std::none_of(ground.names.begin(), ground.names.end(),
                   [this](const std::string& name) { return fits_any(settings_.names, name); }))
    return "its certificate does not fit peers.tls.names any more";
  return now > ground.until ? "its certificate has expired" : "";
}

bool PeerTrust::is_current() const {
  return std::all_of(files_.begin(), files_.end(),
                     [](const FileStamp& stamp) { return FileStamp::of_guarded(stamp.path) == stamp; });
}

}  // namespace layerd::net
