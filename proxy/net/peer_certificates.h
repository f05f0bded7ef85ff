// PeerCertificates: what the other side of a TLS handshake showed, whether it was accepted or refused,
// as plain values. DialReport: everything a dial found out on its way, for who explains it (`layerd
// check`). Plain values; the dialer fills a report on the loop thread while the dial runs. A dial with a
// report resumes no session.
//
// Use: put std::make_shared<DialReport>() into DialRequest::report (through http: into
// ClientRequest::where.report, with fresh_connection = true) and read it when the dial has answered, be it
// with a stream or with an error. A request over a pooled connection leaves its report empty.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/net/stream.h"
#include "runtime/clock.h"

namespace layerd::net {

// Of one certificate. Texts come from outside: printable ASCII, bounded.
struct CertificateFacts {
  std::string subject, issuer;     // common name, else organisation; "without a name" if it has neither
  std::vector<std::string> names;  // DNS names ("*.example.com") and addresses it is valid for; 50 at most
  WallTime not_before{}, not_after{};
  bool is_self_signed = false;  // subject and issuer are the same
  std::string fingerprint;      // SHA-256 of the certificate in hex
};

struct PeerCertificates {
  enum class Verdict {
    none,     // the handshake ended before the verification, or resumed an earlier session (without a report)
    trusted,  // the chain leads to `authority`, and the name fits
    refused,  // the error of the dial says why
    unchecked,  // insecure_skip_verify
  };
  std::string name;                     // what the certificate had to be valid for
  std::string version;                  // "TLSv1.3"; empty: the handshake was not finished
  std::vector<CertificateFacts> chain;  // as sent, the server's own first; 16 at most
  Verdict verdict = Verdict::none;
  // With `trusted`: the certificate of ours that the chain ends at, and where it is from: the path of a
  // file of the configuration, or "the system's CAs".
  std::optional<CertificateFacts> authority;
  std::string authority_source;
};

struct DialReport {
  std::string proxy;               // "http://10.0.0.2:3128" without credentials; empty: dialled directly
  std::vector<Address> addresses;  // of the host (or of the proxy), allowed ones, in the order to be tried
  std::optional<Address> connected;
  std::optional<PeerCertificates> tls;        // of the host; set once its certificate came
  std::optional<PeerCertificates> proxy_tls;  // of an https:// proxy
};

}  // namespace layerd::net
