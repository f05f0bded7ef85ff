// The way out in the configuration: tls of `configs`, certs_dirs, proxy, limits.download.
#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>

#include "daemon/config.h"
#include "daemon/config_values.h"
#include "daemon/settings_table.h"
#include "daemon/way_out.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;

namespace {

const char* no_environment(const char*) { return nullptr; }

LoadedConfig parse(const std::string& text, const char* (*environment)(const char*) = &no_environment) {
  LoadOptions options;
  options.environment = environment;
  return parse_config(
      "c.yaml", text, [](const std::string&) -> Result<std::string> { return std::string(); }, options);
}

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

struct Files : TempDir {
  Identity one = Identity::make({.common_name = "one"}), two = Identity::make({.common_name = "two"});
  Files() {
    put("one.crt", one.certificate);
    put("one.key", one.key);
    put("two.key", two.key);
  }
  std::string put(const std::string& name, const std::string& text) {
    write_text(*this / name, text);
    ::chmod((*this / name).c_str(), 0600);
    return *this / name;
  }
  std::string tls(const std::string& more) { return "configs:\n  reg.io:\n    tls:\n" + more; }
  std::string line(const char* key, const std::string& name) {
    return fmt::format("      {}: {}\n", key, *this / name);
  }
};

const char* everything(const char* name) {
  const std::string_view wanted = name;
  if (wanted == "HTTPS_PROXY") return "http://bob:s3cret@proxy.corp:3128";
  if (wanted == "https_proxy") return "http://lower.corp:1";
  if (wanted == "http_proxy") return "plain.corp:8080";
  if (wanted == "NO_PROXY") return " .local, 10.0.0.0/8 ,,nexus.corp:5000";
  return nullptr;
}

const char* wrong_ones(const char* name) {
  const std::string_view wanted = name;
  if (wanted == "HTTPS_PROXY") return "socks5://bob:s3cret@proxy.corp:1080";
  if (wanted == "NO_PROXY") return "10.0.0.0/99,.local";
  return nullptr;
}

}  // namespace

TEST_CASE("every tls key reaches the settings, and is shown again") {
  Files files;
  std::filesystem::create_directory(files / "cas");
  files.put("cas/a.pem", files.one.certificate);
  const auto loaded = parse(files.tls(files.line("ca_file", "one.crt") + files.line("ca_dir", "cas") +
                                      "      system_cas: false\n      min_version: 1.3\n" +
                                      files.line("cert_file", "one.crt") + files.line("key_file", "one.key") +
                                      "      server_name: inner\n") +
                            "certs_dirs: [/etc/docker/certs.d]\n");
  INFO(all(loaded.errors) << all(loaded.warnings));
  REQUIRE(loaded.ok());
  CHECK(loaded.warnings.empty());
  const auto& host = *loaded.settings->rules.configs.at("reg.io");
  CHECK(host.ca_file == files / "one.crt");
  CHECK(host.ca_dir == files / "cas");
  CHECK_FALSE(host.system_cas);
  CHECK(host.tls_minor == 3);
  CHECK(host.key_file == files / "one.key");
  CHECK(loaded.settings->certs_dirs == std::vector<std::string>{"/etc/docker/certs.d"});
  const std::string printed = print_settings(*loaded.settings);
  const auto again = parse(printed);
  INFO(printed << all(again.errors));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == printed);
}

TEST_CASE(
    "a file that is no certificate, no key, or not the key of its certificate is named with line and key") {
  Files files;
  files.put("text", "hello\n");
  files.put("empty", "");
  std::filesystem::create_directory(files / "none");
  struct Row {
    std::string text;
    const char* says;
  };
  const Row rows[] = {
      {files.line("ca_file", "text"), "c.yaml:4:16: configs.\"reg.io\".tls.ca_file: "},
      {files.line("ca_file", "text"), "text holds no PEM block (-----BEGIN CERTIFICATE-----)"},
      {files.line("ca_file", "empty"), "empty is empty"},
      {files.line("ca_file", "one.key"), "holds a private key and no certificate"},
      {files.line("ca_dir", "none"), "c.yaml:4:15: configs.\"reg.io\".tls.ca_dir: "},
      {files.line("ca_dir", "none"), "holds no *.crt, *.pem or *.cer"},
      {files.line("ca_dir", "absent"), "No such file or directory"},
      {files.line("cert_file", "one.crt") + files.line("key_file", "one.crt"),
       "holds a certificate and no private key"},
      {files.line("cert_file", "one.crt") + files.line("key_file", "two.key"),
       "c.yaml:5:17: configs.\"reg.io\".tls.key_file: the key in "},
      {files.line("key_file", "two.key") + files.line("cert_file", "one.crt"),
       "c.yaml:5:18: configs.\"reg.io\".tls.cert_file: the key in "},
      {files.line("cert_file", "one.crt") + files.line("key_file", "absent.key"), "absent.key"},
      {"      min_version: 1.1\n", "possible here: 1.2, 1.3"}};
  for (const Row& row : rows) {
    INFO(row.text);
    const auto loaded = parse(files.tls(row.text));
    CHECK_FALSE(loaded.ok());
    CHECK_THAT(all(loaded.errors), Catch::Contains(row.says));
  }
}

TEST_CASE("a certificate that has run out is a warning with its date") {
  Files files;
  files.put("old.crt", Identity::make({.common_name = "old", .from_days = -9, .to_days = -3}).certificate);
  const auto loaded = parse(files.tls(files.line("ca_file", "old.crt")));
  REQUIRE(loaded.ok());
  CHECK_THAT(all(loaded.warnings),
             Catch::Contains("the certificate \"old\"") && Catch::Contains("expired on 20"));
}

TEST_CASE("proxies come from the file, masked wherever they are shown") {
  Files files;
  files.put("password", "p@ss:w\n");
  const auto loaded = parse(
      "proxy:\n  https: \"http://bob@10.0.0.2:3128\"\n  http: \"http://eve:s3cret@10.0.0.3\"\n"
      "  no_proxy: [.local, 10.0.0.0/8]\n" +
      ("  password_file: " + (files / "password")) + "\n");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const auto rules = proxy_rules(*loaded.settings);
  REQUIRE(rules);
  CHECK(rules->https->password == "p@ss:w");
  CHECK(rules->http->password == "s3cret");
  CHECK(rules->choose(true, "ghcr.io", 443) == rules->https);
  CHECK_FALSE(rules->choose(true, "nexus.local", 443));
  CHECK_FALSE(rules->choose(true, "10.1.2.3", 443));
  const std::string printed = print_settings(*loaded.settings);
  CHECK(printed.find("s3cret") == std::string::npos);
  CHECK(printed.find("bob") == std::string::npos);
  CHECK_THAT(printed, Catch::Contains("https: \"http://****@10.0.0.2:3128\""));
  CHECK(std::find(loaded.files.begin(), loaded.files.end(), files / "password") != loaded.files.end());
}

TEST_CASE("what contradicts itself on the way out is a warning with its line") {
  Files files;
  files.put("password", "x\n");
  const auto warned = [](const std::string& text) {
    const auto loaded = parse(text);
    REQUIRE(loaded.ok());
    return all(loaded.warnings);
  };
  const std::string file = "  password_file: " + (files / "password") + "\n";
  CHECK_THAT(warned("proxy:\n  https: \"http://bob:s3cret@p:1\"\n" + file),
             Catch::Contains("c.yaml:3:") && Catch::Contains("the URL holds a password, which wins"));
  CHECK_THAT(warned("proxy:\n  https: \"http://p:1\"\n" + file), Catch::Contains("no URL names a user"));
  CHECK(warned("proxy:\n  https: \"http://bob@p:1\"\n" + file).empty());
  CHECK_THAT(warned(files.tls(files.line("ca_file", "one.crt") + "      insecure_skip_verify: true\n")),
             Catch::Contains("ca_file and ca_dir are not used"));
  CHECK_THAT(warned(files.tls("      system_cas: false\n")), Catch::Contains("only what certs_dirs has"));
}

TEST_CASE("a wrong proxy is named with its line and without its secret") {
  for (const char* text : {"https: \"socks5://bob:s3cret@p:1\"", "http: \"http://bob:s3cret@\"",
                           "no_proxy: [\"10.0.0.0/40\"]", "https: [x]"}) {
    INFO(text);
    const auto loaded = parse(std::string("proxy:\n  ") + text + "\n");
    CHECK_FALSE(loaded.ok());
    CHECK_THAT(all(loaded.errors), Catch::Contains("c.yaml:2:") && Catch::Contains("proxy."));
    CHECK(all(loaded.errors).find("s3cret") == std::string::npos);
  }
}

TEST_CASE("the environment counts where the file says nothing, upper case first") {
  auto loaded = parse("", &everything);
  REQUIRE(loaded.ok());
  auto rules = proxy_rules(*loaded.settings);
  REQUIRE(rules);
  CHECK(rules->https->str() == "http://proxy.corp:3128");
  CHECK(rules->https->password == "s3cret");
  CHECK(rules->http->str() == "http://plain.corp:8080");
  CHECK_FALSE(rules->choose(true, "a.local", 443));
  CHECK_FALSE(rules->choose(true, "nexus.corp", 5000));
  CHECK(rules->choose(true, "nexus.corp", 443));
  loaded = parse("proxy: {https: \"\", no_proxy: []}", &everything);
  rules = proxy_rules(*loaded.settings);
  REQUIRE(rules);
  CHECK_FALSE(rules->https);
  CHECK(rules->choose(false, "a.local", 80));
  CHECK_FALSE(proxy_rules(*parse("").settings));
}

TEST_CASE("a variable that cannot be used is a warning that names it") {
  const auto loaded = parse("", &wrong_ones);
  REQUIRE(loaded.ok());
  const std::string warnings = all(loaded.warnings);
  CHECK_THAT(warnings, Catch::Contains("HTTPS_PROXY of the environment is not used") &&
                           Catch::Contains("SOCKS is not spoken") && Catch::Contains("NO_PROXY entry") &&
                           Catch::Contains("10.0.0.0/99"));
  CHECK(warnings.find("s3cret") == std::string::npos);
  CHECK(loaded.settings->proxy.no_proxy == std::vector<std::string>{".local"});
}

TEST_CASE("rates are bits or bytes for each second") {
  CHECK(*parse_rate("50Mbit") == 6'250'000);
  CHECK(*parse_rate("1Gbit") == 125'000'000);
  CHECK(*parse_rate("1.5 Mbit") == 187'500);
  CHECK(*parse_rate("6MiB") == 6u << 20);
  CHECK(*parse_rate("none") == 0);
  CHECK(rate_text(6'250'000) == "50Mbit");
  CHECK(rate_text(125'000'000) == "1Gbit");
  CHECK(rate_text(6u << 20) == "6MiB");
  for (const char* wrong : {"50", "50mbit", "-1Mbit", "10kbit", "2000Gbit", "fast"}) {
    INFO(wrong);
    CHECK_FALSE(parse_rate(wrong));
  }
  const auto loaded = parse("limits: {download: 50Mbit}");
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->download_limit == 6'250'000);
}
