// One registry that wants tokens, as the tests of authentication ask it: its blob, its challenge, its token
// server with and without an account.
#pragma once

#include <string>

#include "tests/unit/upstream/fixture.h"

namespace layerd::test::auth {

inline const std::string kBlob = "GET https://reg.example/v2/app/blobs/" + kDigest;
inline const std::string kBearer =
    R"(Bearer realm="https://auth.reg.example/token",service="a b:c",scope="repository:app:pull")";
inline const std::string kToken =
    "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aapp%3Apull";
inline const std::string kLoginToken =
    "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aapp%3Apull&account=me";

}  // namespace layerd::test::auth
