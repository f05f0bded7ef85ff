// Dialer: host and port -> a connected ByteStream. DNS (resolver), the address policy of
// design.md §3.6, happy eyeballs, HTTP proxies, TLS. Loop thread. Dropping the Ticket closes what was begun.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/peer_certificates.h"
#include "proxy/net/proxy_rules.h"
#include "proxy/net/stream.h"
#include "runtime/clock.h"

namespace layerd::net {

// Everything that decides how a TLS connection is made and which session may be reused.
struct TlsSettings {
  std::string ca_file;              // trusted besides the system's CAs; may be empty
  std::string cert_file, key_file;  // client certificate; both or none
  std::string server_name;          // empty: the host that was dialled
  bool insecure_skip_verify = false;
  std::string ca_dir;          // a folder: its *.crt, *.pem and *.cer are trusted as well; may be empty
  bool system_cas = true;      // false: the system's CAs are not trusted
  unsigned minor_version = 2;  // the least version of TLS is 1.<this>; 2 or 3
  // Where runtimes keep such settings by host (/etc/docker/certs.d), and which host they are wanted for:
  // read_certs_folder(). Empty: not looked at.
  std::vector<std::string> certs_dirs;
  std::string certs_host;
  std::uint16_t certs_port = 0;
  // The same as ca_file, cert_file and key_file, as PEM text that stands in no file of its own (a kubeconfig
  // holds them). A text wins over the file.
  std::string ca_pem, cert_pem, key_pem;
  bool operator==(const TlsSettings&) const = default;
};

enum class AddressPolicy : std::uint8_t {
  any,  // the host is configured: its addresses are the operator's business
  // A configured host named it: private addresses of the site as well, but nothing of this machine, its
  // links and its cloud.
  site,
  public_only,  // not configured: loopback, link-local, private, metadata, multicast and our own are refused
};

struct DialRequest {
  std::string host;  // name or numeric address, no brackets
  std::uint16_t port = 443;
  bool tls = true;
  TlsSettings tls_settings;
  AddressPolicy policy = AddressPolicy::public_only;
  Deadline deadline;  // for all of it: DNS, connect, handshake
  // Called whenever it moved on: an address found, connected, handshake done. May be empty.
  std::function<void()> progress;
  // Not null: through this proxy. TLS goes through a tunnel (CONNECT); without TLS the stream ends at the
  // proxy, which wants the target in absolute form.
  ProxyPtr proxy = nullptr;
  // Not null: filled while the dial runs.
  std::shared_ptr<DialReport> report = nullptr;
};

class Dialer {
 public:
  virtual ~Dialer() = default;
  // Errors: upstream_unreachable with a diagnosis (dns_not_found, dns_timeout, connect_refused,
  // connect_timeout, network_unreachable, tls_name_mismatch, dns_suspicious, tls_unknown_ca, tls_self_signed,
  // tls_expired, tls_not_yet_valid, scheme_mismatch, tls_protocol, proxy_failed, ...); refused_by_policy
  // (address_not_allowed); upstream_timeout.
  virtual Ticket dial(const DialRequest& request, Done<ByteStreamPtr> done) = 0;
};

}  // namespace layerd::net
