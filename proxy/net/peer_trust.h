// PeerTrust: what this node shows to members and what it accepts from them, as it was read from its files: a
// snapshot that never changes. Built on a worker; used on the loop thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/file_stamp.h"
#include "proxy/net/peer_card.h"
#include "proxy/net/peer_secret.h"
#include "runtime/clock.h"

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;
struct bio_method_st;

namespace layerd::net {

struct PeerIdentitySettings {
  std::string site;                          // is_site_name()
  std::string secret_file;                   // peers.secret_file; may be empty
  std::string cert_file, key_file, ca_file;  // peers.tls.*; all or none (key_file may be in cert_file)
  std::vector<std::string> names;            // peers.tls.names: patterns, not empty with certificates
  bool has_certificates() const { return !cert_file.empty() || !key_file.empty() || !ca_file.empty(); }
  bool is_set() const { return !secret_file.empty() || has_certificates(); }
  bool operator==(const PeerIdentitySettings&) const = default;
};

// What a connection rests on, as it was when it was made.
struct PeerGround {
  std::string site;
  std::string secret;                // name of the site secret; empty: certificates
  std::string authority;             // fingerprint of the authority the peer's certificate leads to
  std::string own;                   // fingerprint of our certificate
  std::vector<std::string> names;    // of the peer's certificate
  WallTime until = WallTime::max();  // when the peer's certificate expires
};

class PeerTrust {
 public:
  // Worker side. Errors: config, naming key, file, cause and remedy; sys_errno where a file
  // cannot be read.
  static Result<std::shared_ptr<const PeerTrust>> build(const PeerIdentitySettings& settings);
  ~PeerTrust();
  PeerTrust(const PeerTrust&) = delete;
  PeerTrust& operator=(const PeerTrust&) = delete;

  const PeerIdentitySettings& settings() const { return settings_; }
  const std::vector<PeerSecret>& secrets() const { return secrets_; }
  const PeerSecret* find_secret(const std::string& name) const;
  bool has_certificates() const { return !own_.empty(); }
  const std::string& own_fingerprint() const { return own_; }
  // Why a connection on that ground has to end; empty: it may stay.
  std::string verdict_on(const PeerGround& ground, WallTime now) const;

  // Worker side. True if every file is as it was when this was built.
  bool is_current() const;

  ssl_ctx_st* client() const { return client_; }
  ssl_ctx_st* server() const { return server_; }
  bio_method_st* transport() const { return transport_; }

 private:
  explicit PeerTrust(PeerIdentitySettings settings);
  Result<Ok> load();
  Result<Ok> load_certificates();
  void prepare(ssl_ctx_st* context) const;

  PeerIdentitySettings settings_;
  std::vector<FileStamp> files_;
  std::vector<PeerSecret> secrets_;
  std::string own_;                       // fingerprint; empty: no certificate
  std::vector<std::string> authorities_;  // fingerprints
  ssl_ctx_st* client_;
  ssl_ctx_st* server_;
  bio_method_st* transport_;
};
using PeerTrustPtr = std::shared_ptr<const PeerTrust>;

// DNS names, addresses and URIs of a certificate; 50 at most, none with a control character in it.
struct CertificateNames {
  std::vector<std::string> all, ips;
};
CertificateNames names_of(x509_st* certificate);

}  // namespace layerd::net
