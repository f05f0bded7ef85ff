// Records of complete blobs: told, told anew, forgotten.
#include "proxy/peers/records.h"

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

Digest digest(std::string_view of) { return digest_of(DigestAlgorithm::sha256, of); }
const std::string kOne = "10.0.0.1:5152", kOther = "10.0.0.2:5152";

}  // namespace

TEST_CASE("a record stands until it is taken back, replaced or not told again") {
  Records records;
  TimePoint now{1h};
  records.tell(kOne, {{digest("a"), digest("b")}, {}, true}, now);
  records.tell(kOther, {{digest("a")}, {}, false}, now + 1s);
  CHECK(records.holders(digest("a"), now + 1s) == std::vector<std::string>{kOther, kOne});
  records.tell(kOne, {{}, {digest("a")}, false}, now + 2s);
  CHECK(records.holders(digest("a"), now + 2s) == std::vector<std::string>{kOther});
  records.tell(kOne, {{digest("c")}, {}, true}, now + 3s);  // all it has now
  records.tell(kOne, {{digest("d")}, {}, false}, now + 3s);
  CHECK(records.holders(digest("b"), now + 3s).empty());
  CHECK(records.holders(digest("c"), now + 3s).size() == 1);
  CHECK(records.holders(digest("d"), now + 3s).size() == 1);
  CHECK(records.holders(digest("c"), now + 20min).empty());
  records.sweep(now + 20min);
  CHECK(records.size() == 0);
}

TEST_CASE("one member cannot fill the records") {
  RecordSettings settings;
  settings.records = 30;
  settings.records_per_peer = 20;
  Records records(settings);
  TimePoint now{1h};
  for (int i = 0; i < 100; ++i) records.tell(kOne, {{digest(std::to_string(i))}, {}, false}, now);
  CHECK(records.size() == 20);
  for (int i = 0; i < 100; ++i) records.tell(kOther, {{digest(std::to_string(i))}, {}, false}, now);
  CHECK(records.size() == 30);
  records.tell(kOne, {{}, {}, true}, now);
  records.sweep(now);
  CHECK(records.size() == 10);
}
