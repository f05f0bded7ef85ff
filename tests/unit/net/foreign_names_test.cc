// When a certificate is somebody else's.
#include "proxy/net/foreign_names.h"

#include "tests/support/catch.h"

using layerd::net::are_foreign;

TEST_CASE("a certificate of another domain is somebody else's, one of the same domain is not") {
  CHECK(are_foreign({"*.github.io", "*.github.com", "github.io"}, "ghcr.io"));
  CHECK_FALSE(are_foreign({"default.site.test"}, "nexus.site.test"));
  CHECK_FALSE(are_foreign({"*.site.test"}, "a.nexus.site.test"));
  CHECK_FALSE(are_foreign({"site.test"}, "Nexus.SITE.test."));
  CHECK(are_foreign({"portal.telco.co.uk"}, "registry.corp.co.uk"));
  CHECK_FALSE(are_foreign({"www.corp.co.uk"}, "registry.corp.co.uk"));
  CHECK(are_foreign({"router"}, "nexus.corp"));
  CHECK_FALSE(are_foreign({}, "ghcr.io"));
}
