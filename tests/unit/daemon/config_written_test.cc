// Configurations that are written down: printed, kept as the last good one, and shown in the docs.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "daemon/config.h"
#include "daemon/last_good.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"
#include "tests/support/tls_server.h"
#include "tests/unit/daemon/config_fixture.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test::config;

TEST_CASE("what is printed holds no secret and reads back as the same configuration") {
  Folder folder;
  const auto secret = folder.write("pw", "hunter2");
  const std::string text =
      "aliases: [{from: \"docker.io/nexus/**\", to: \"n.io/**\"}, {from: h.io, to: i.io}]\n"
      "listen: \"[::1]:0\"\ncache: {max_size: 5GB}\nmirrors: {docker.io: {endpoint: [\"https://m:5000/v2\"], "
      "rewrite: "
      "{\"^a\\\\.(.*)\": \"b/$1\"}, default_endpoint: false}}\nconfigs:\n  a.io: {auth: {username: u, "
      "password: "
      "hunter2}}\n  b.io: {auth: {identity_token: hunter2}}\n  c.io: {auth: {auth: dTpodW50ZXIy}}\n  d.io: "
      "{auth: "
      "{username: u, password_file: " +
      secret + "}}\n";
  const auto loaded = parse(text);
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const std::string printed = print_settings(*loaded.settings);
  INFO(printed);
  CHECK(printed.find("hunter2") == std::string::npos);
  CHECK(printed.find("****") != std::string::npos);
  const auto again = parse(printed);
  INFO(all(again.errors));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == printed);
  CHECK(again.settings->rules.mirrors.at("docker.io").rewrite[0].first == "^a\\.(.*)");
  for (const auto& problem : parse(text + "wrong: hunter3\n").errors)
    CHECK(problem.message.find("hunter") == std::string::npos);
}

TEST_CASE("the last good configuration is kept closed and comes back although its files are gone") {
  Folder folder;
  const auto ca = folder.write("ca", test::Identity::make({.is_authority = true}).certificate);
  const auto path = folder.write("c.yaml", "workers: 3\nregistries_file: " + folder.path + "/r.yaml\n");
  folder.write("r.yaml", "configs: {a.io: {tls: {ca_file: " + ca + "}}}\n");
  CHECK(load_last_good(folder.path).error().code == Errc::not_found);
  const auto loaded = load_config(path);
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  REQUIRE(save_last_good(folder.path, loaded.sources));
  const std::string saved = folder.path + "/last-good-config.json";
  folder.files.push_back(saved);
  struct stat info {};
  REQUIRE(::stat(saved.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  for (const auto& name : {ca, path, folder.path + "/r.yaml"}) ::unlink(name.c_str());
  const auto back = load_last_good(folder.path);
  REQUIRE(back);
  CHECK(back->settings->workers == 3);
  CHECK(back->settings->rules.configs.at("a.io")->ca_file == ca);
  CHECK_THAT(all(back->warnings), Catch::Contains(ca));
  std::ifstream in(saved);
  std::stringstream text;
  text << in.rdbuf();
  std::string changed = text.str();
  changed.replace(changed.find("workers: 3"), 10, "workers: 4");
  std::ofstream(saved) << changed;
  CHECK(load_last_good(folder.path).error().code == Errc::config);
}

// Red if only the folder that the bad file names is looked at, or whose configuration it was is not.
TEST_CASE("the last good configuration of a file is found however the file went bad, and no other file's") {
  Folder store, state;
  const auto path = store.write("c.yaml", "workers: 3\ncache: {path: " + store.path + "}\n");
  const auto loaded = load_config(path);
  REQUIRE(loaded.ok());
  ::setenv("STATE_DIRECTORY", state.path.c_str(), 1);
  REQUIRE(save_last_good_everywhere(store.path, loaded.sources));
  for (Folder* folder : {&store, &state}) folder->files.push_back(folder->path + "/last-good-config.json");
  const auto workers = [&](const std::string& asked) {
    const auto found = find_last_good(asked, true);
    return found ? found->settings->workers : 0;
  };
  for (const std::string text :
       {"cache: {path: relative}", "cache: {pth: /x}", "cache: [", "cache: {path: /nowhere}"}) {
    store.write("c.yaml", text);
    CHECK(workers(path) == 3);
  }
  ::unlink(path.c_str());
  CHECK(workers(path) == 3);
  CHECK(workers(store.path + "/other.yaml") == 0);
  ::unsetenv("STATE_DIRECTORY");
  CHECK(workers(path) == 0);
  store.write("c.yaml", "cache: {path: " + store.path + "}\nwrong: 1\n");
  CHECK(workers(path) == 3);
}

TEST_CASE("docs/settings.md is what the table says") {
  std::ifstream in(std::string(LAYERD_SOURCE_DIR) + "/docs/settings.md");
  std::stringstream text;
  text << in.rdbuf();
  CHECK(text.str() == settings_markdown());
}

TEST_CASE("the configurations shown in README.md and docs/names.md are valid") {
  for (const char* file : {"/README.md", "/docs/names.md"}) {
    INFO(file);
    std::ifstream in(std::string(LAYERD_SOURCE_DIR) + file);
    std::stringstream text;
    text << in.rdbuf();
    const std::string page = text.str();
    int found = 0;
    for (auto at = page.find("```yaml\n"); at != std::string::npos; at = page.find("```yaml\n", at + 1)) {
      const std::string block = page.substr(at + 8, page.find("\n```", at) - at - 7);
      const ReadText none = [](const std::string&) -> Result<std::string> { return std::string(); };
      const auto loaded = parse_config("c.yaml", block, none, {.must_exist = true, .check_files = false});
      INFO(block << all(loaded.errors));
      CHECK(loaded.ok());
      ++found;
    }
    CHECK(found > 0);
  }
}
