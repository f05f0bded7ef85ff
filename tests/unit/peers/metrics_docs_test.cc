// What the code counts of sharing and what the docs say of it.
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::test;

TEST_CASE("every metric of sharing stands in docs/logging.md") {
  const std::string docs = read_text(LAYERD_SOURCE_DIR "/docs/logging.md");
  std::set<std::string> names;
  for (const char* folder : {"/proxy", "/daemon"})
    for (const auto& file :
         std::filesystem::recursive_directory_iterator(LAYERD_SOURCE_DIR + std::string(folder))) {
      if (file.path().extension() != ".cc") continue;
      const std::string text = read_text(file.path());
      static const std::regex kName("\"(layerd_(?:peer|shared)[a-z_]*)\"");
      for (std::sregex_iterator at(text.begin(), text.end(), kName), end; at != end; ++at)
        names.insert((*at)[1]);
    }
  CHECK(names.count("layerd_peer_leases_total") == 1);
  CHECK(names.count("layerd_shared_bytes_total") == 1);
  for (const auto& name : names) {
    INFO(name);
    CHECK((docs.find("`" + name + "`") != std::string::npos ||
           docs.find("`" + name + "{") != std::string::npos));
  }
}
