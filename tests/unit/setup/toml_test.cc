// The TOML reader of setup: values, positions, and errors that name the place.
#include "daemon/setup/toml.h"

#include "tests/support/catch.h"

using namespace layerd::daemon::setup;

namespace {
TomlValue parsed(std::string_view text) {
  auto root = parse_toml("x.toml", text);
  INFO((root ? "" : root.error().message));
  REQUIRE(root);
  return *root;
}
std::string error_of(std::string_view text) {
  auto root = parse_toml("x.toml", text);
  return root ? "none" : root.error().message;
}
}  // namespace

TEST_CASE("tables, dotted keys, quoted keys and lists of tables are read") {
  const auto root = parsed(
      "version = 2 # a comment\n"
      "a.b.c = 'x'\n"
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\r\n"
      "  config_path = \"/etc/containerd/certs.d\"\n"
      "[[registry]]\nprefix = \"docker.io\"\n[[registry.mirror]]\nlocation = \"m1\"\n"
      "[[registry]]\nprefix = 'quay.io'\nblocked = true\n");
  CHECK(root.find("version")->text == "2");
  CHECK(root.find({"a", "b"})->text_at("c") == "x");
  CHECK(root.find({"plugins", "io.containerd.grpc.v1.cri", "registry"})->text_at("config_path") ==
        "/etc/containerd/certs.d");
  const auto* list = root.find("registry");
  REQUIRE(list->items.size() == 2);
  CHECK(list->items[0].find("mirror")->items[0].text_at("location") == "m1");
  CHECK(list->items[1].true_at("blocked"));
}

TEST_CASE("texts are unescaped as TOML says") {
  const auto root = parsed(
      "a = \"tab\\t quote\\\" \\u00e9\"\nb = 'C:\\n'\nc = \"\"\"\nfirst\nsecond \\\n   end\"\"\"\nd = [ 'x', "
      "# one\n 'y', ]\n"
      "e = {f = {g = \"h\"}, i = 1.5}\n");
  CHECK(root.text_at("a") == "tab\t quote\" \xc3\xa9");
  CHECK(root.text_at("b") == "C:\\n");
  CHECK(root.text_at("c") == "first\nsecond end");
  CHECK(root.find("d")->texts() == std::vector<std::string>{"x", "y"});
  CHECK(root.find({"e", "f"})->text_at("g") == "h");
  CHECK(root.find({"e", "i"})->text == "1.5");
}

TEST_CASE("a value knows where it stands, so that it alone can be replaced") {
  const std::string text =
      "# head\nserver = \"https://a\" # tail\n[host.\"https://b\"]\n  ca = 'x'\n\n[other]\n";
  const auto root = parsed(text);
  const auto* server = root.find("server");
  CHECK(text.substr(server->begin, server->end - server->begin) == "\"https://a\"");
  const auto* host = root.find({"host", "https://b"});
  CHECK(text.substr(host->begin).starts_with("[host"));
  CHECK(text.substr(host->body).starts_with("  ca"));
  CHECK(host->line == 3);
}

TEST_CASE("what is no TOML is refused with its place") {
  CHECK(error_of("a = \n") == "x.toml:1:5: a value was expected; a text needs quotes");
  CHECK(error_of("a = b\n") == "x.toml:1:5: a value was expected; a text needs quotes");
  CHECK(error_of("\n\n[host.\"x\"\n") == "x.toml:3:10: ']' was expected behind the name of the table");
  CHECK(error_of("a = 1\na = 2\n") == "x.toml:2:1: the key \"a\" is there twice");
  CHECK(error_of("[a]\n[a]\n").find("x.toml:2:") == 0);
  CHECK(error_of("a = \"x\n").find("a quote was expected") != std::string::npos);
  CHECK(error_of("a = [1, 2\n").find("list has no end") != std::string::npos);
  CHECK(error_of("a = \"\\q\"\n").find("no such escape") != std::string::npos);
  CHECK(error_of("a = 1 b = 2\n").find("line was expected to end") != std::string::npos);
  CHECK(error_of("a = " + std::string(100, '[')).find("nested too deep") != std::string::npos);
}

TEST_CASE("a text written by toml_quoted reads back as itself") {
  for (std::string text : {"plain", "a\"b\\c", "line\nend\t\x01", "\xc3\xa9"})
    CHECK(parsed("a = " + toml_quoted(text)).text_at("a") == text);
}
