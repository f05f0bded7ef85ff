// Turns what OpenSSL says about a failed handshake into one sentence and a stable code. Pure.
#pragma once

#include <string>
#include <string_view>

#include "proxy/net/peer_certificates.h"
#include "runtime/result.h"

struct x509_store_ctx_st;

namespace layerd::net {

struct TlsPeerName {
  std::string name;            // what the certificate must be valid for
  std::string address;         // where we are connected to, "10.1.2.3:443"
  unsigned minor_version = 2;  // the least version of TLS we take is 1.<this>
};

// Why the peer's certificate was refused; called by the verification as it meets the fault. Names and
// dates of the certificate are in the sentence. now: what this machine's clock says.
Error certificate_error(x509_store_ctx_st* store, const TlsPeerName& peer, WallTime now);

// Why a handshake (or a later record) failed, from OpenSSL's error queue.
// first_bytes: the first bytes the peer sent. has_ended: it closed the connection.
Error handshake_error(const TlsPeerName& peer, std::string_view first_bytes, bool has_ended);

// How many of a peer's first bytes handshake_error wants.
inline constexpr std::size_t kFirstBytes = 16;

}  // namespace layerd::net
