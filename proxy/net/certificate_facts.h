// CertificateFacts out of OpenSSL's certificates, and their words for people. Pure.
#pragma once

#include <string>

#include "proxy/net/peer_certificates.h"

struct x509_st;

namespace layerd::net {

CertificateFacts facts_of(x509_st* certificate);

// "a.example, *.b.example and 3 more", or that there is none.
std::string names_text(const CertificateFacts& facts);
// "2026-01-31 08:00 UTC"
std::string time_text(WallTime time);
// "2026-01-31"
std::string date_text(WallTime time);
// "valid 2026-01-31 to 2027-01-31"
std::string validity_text(const CertificateFacts& facts);

}  // namespace layerd::net
