// Whom TLS trusts: the system's authorities, files, folders, the runtimes' certs.d; and what a dial
// tells of the certificates it met.
#include <fmt/core.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/clock_check.h"
#include "proxy/net/hosts_toml.h"
#include "proxy/net/tls_files.h"
#include "tests/unit/net/tls_site.h"

using namespace layerd;
using namespace layerd::test;

namespace {

struct Served {
  Site site;
  TlsServer server;
  explicit Served(Duration look_again = 1s)
      : site(look_again),
        server(site.served({.common_name = "leaf", .names = {"DNS:registry.test"}}), say_hello) {}
  bool accepts(const TlsSettings& settings) { return site.dial(server.port(), settings).ok(); }
};

CertificateFacts facts(WallTime from, WallTime to) {
  CertificateFacts made;
  made.not_before = from;
  made.not_after = to;
  return made;
}

}  // namespace

TEST_CASE("every refusal tells names and dates of the certificate") {
  Site site;
  const Identity self =
      Identity::make({.common_name = "lonely", .names = {"DNS:registry.test", "IP:10.9.8.7"}});
  TlsServer alone({self.certificate, self.key, {}, 0}, say_hello);
  TlsServer unknown(site.served({.common_name = "leaf", .names = {"DNS:*.test"}}), say_hello);
  TlsServer other(site.served({.common_name = "leaf", .names = {"DNS:other.test"}}), say_hello);
  const std::string dates = "valid " + date_text(std::chrono::system_clock::now() - 24h) + " to " +
                            date_text(std::chrono::system_clock::now() + 30 * 24h);
  const auto check = [&](const Error& error, const char* names) {
    INFO(error.message);
    CHECK(says(error, names));
    CHECK(says(error, dates.c_str()));
  };
  check(failure(site, alone.port(), {}), "for registry.test, 10.9.8.7, issued by \"lonely\"");
  check(failure(site, unknown.port(), {}), "for *.test, issued by \"Site CA\"");
  check(failure(site, other.port(), site.trusting()), "issued by \"Site CA\"");
}

TEST_CASE("an authority that was made anew under its old name is named as that") {
  Site site;
  site.authority = Identity::make({.common_name = "Site CA", .is_authority = true});
  TlsServer server(site.served({.common_name = "leaf", .names = {"DNS:registry.test"}}), say_hello);
  const Error error = failure(site, server.port(), site.trusting());  // ca.crt is of the first one
  CHECK(error.diagnosis == "tls_unknown_ca");
  CHECK(says(error, "is signed by another \"Site CA\" than the one trusted here (same name, other key)"));
}

TEST_CASE("a wildcard covers one label and no more") {
  Site site;
  TlsServer server(site.served({.names = {"DNS:*.corp.test"}}), say_hello);
  TlsSettings settings = site.trusting();
  settings.server_name = "registry.corp.test";
  CHECK(site.dial(server.port(), settings));
  for (const char* other : {"a.registry.corp.test", "corp.test"}) {
    settings.server_name = other;
    CHECK(failure(site, server.port(), settings).diagnosis == "tls_name_mismatch");
  }
}

TEST_CASE("a folder of authorities is trusted, and read again when a file comes") {
  Served served(0s);
  TlsSettings settings;
  settings.ca_dir = served.site.dir / "cas";
  std::filesystem::create_directory(settings.ca_dir);
  write_text(settings.ca_dir + "/other.pem",
             Identity::make({.common_name = "Other CA", .is_authority = true}).certificate);
  write_text(settings.ca_dir + "/README", "no certificate");
  CHECK_FALSE(served.accepts(settings));
  write_text(settings.ca_dir + "/site.crt", served.site.authority.certificate);
  CHECK(served.accepts(settings));
}

// rules: tls-files-reread
TEST_CASE("a changed file drops no connection: the next one is made by the new file") {
  Site site(0s);
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), [](TlsServer::Line& line) {
    char byte;
    while (line.read(&byte, 1) == 1) line.write(&byte, 1);
  });
  auto early = site.dial(server.port(), site.trusting());
  REQUIRE(early);
  write_text(site.dir / "ca.crt",
             Identity::make({.common_name = "Other CA", .is_authority = true}).certificate);
  CHECK(failure(site, server.port(), site.trusting()).diagnosis == "tls_unknown_ca");
  (*early)->write_detached(Bytes::copy_of("x"));
  std::optional<Result<Bytes>> echo;
  Ticket read = (*early)->read(1, [&](Result<Bytes> bytes) { echo = std::move(bytes); });
  REQUIRE(site.until([&] { return echo.has_value(); }));
  REQUIRE(echo->ok());
  CHECK((*echo)->view() == "x");
}

// rules: bad-tls-file-told
TEST_CASE("a file that went bad is told for as long as it is bad, and the old one goes on") {
  Site site(0s);
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), say_hello);
  REQUIRE(site.dial(server.port(), site.trusting()));
  CHECK(site.contexts->troubles().empty());
  const std::string good = site.dir / "ca.crt", kept = site.dir / "kept.crt";
  REQUIRE(::rename(good.c_str(), kept.c_str()) == 0);
  write_text(good, "no certificate");
  REQUIRE(site.dial(server.port(), site.trusting()));
  REQUIRE(site.contexts->troubles().size() == 1);
  CHECK(site.contexts->troubles()[0].find(good) != std::string::npos);
  CHECK(site.dial(server.port(), site.trusting("none.crt")).ok() == false);
  CHECK(site.contexts->troubles().size() == 2);
  // The very file of before, whose stamp is the old one.
  REQUIRE(::rename(kept.c_str(), good.c_str()) == 0);
  REQUIRE(site.dial(server.port(), site.trusting()));
  CHECK(site.contexts->troubles().size() == 1);
}

TEST_CASE("without the system's authorities only what is configured is trusted") {
  Served served;
  write_text(served.site.dir / "system.crt", served.site.authority.certificate);
  ::setenv("SSL_CERT_FILE", (served.site.dir / "system.crt").c_str(), 1);
  TlsSettings settings;
  CHECK(served.accepts(settings));
  settings.system_cas = false;
  CHECK_FALSE(served.accepts(settings));
  settings.ca_file = served.site.dir / "ca.crt";
  CHECK(served.accepts(settings));
  ::unsetenv("SSL_CERT_FILE");
}

TEST_CASE("a server below the least version is named as that") {
  Site site;
  TlsServerSettings old = site.served({.names = {"DNS:registry.test"}});
  old.most_version = TLS1_2_VERSION;
  TlsServer server(old, say_hello);
  TlsSettings settings = site.trusting();
  CHECK(site.dial(server.port(), settings));
  settings.minor_version = 3;
  const Error error = failure(site, server.port(), settings);
  CHECK(error.diagnosis == "tls_protocol");
  CHECK(says(error, "no TLS version from 1.3 on"));
  CHECK(says(error, "tls.min_version"));
}

// rules: certs-dirs
TEST_CASE("docker's folder for a host brings its authorities and client certificates") {
  Site site(0s);
  TlsServerSettings wanting = site.served({.names = {"DNS:registry.test"}});
  wanting.client_ca = site.authority.certificate;
  TlsServer server(wanting, say_hello);
  TlsSettings settings;
  settings.certs_dirs = {site.dir / "absent", site.dir / "certs.d"};
  settings.certs_host = "registry.test";
  settings.certs_port = server.port();
  CHECK(failure(site, server.port(), settings).diagnosis == "tls_unknown_ca");
  const std::string folder = site.dir / fmt::format("certs.d/registry.test:{}", server.port());
  std::filesystem::create_directories(folder);
  write_text(folder + "/ca.crt", site.authority.certificate);
  const Identity mine = Identity::make({.common_name = "node"}, &site.authority);
  write_text(folder + "/node.cert", mine.certificate);
  const Error half = failure(site, server.port(), settings);
  CHECK(half.diagnosis == "tls_ca_file");
  CHECK(says(half, "node.cert has no node.key beside it"));
  write_text(folder + "/node.key", mine.key);
  auto stream = site.dial(server.port(), settings);
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
  settings.certs_port = 443;  // that folder is of another port
  CHECK_FALSE(site.dial(server.port(), settings));
}

TEST_CASE("containerd's hosts.toml brings authorities, client certificates and skip_verify") {
  Served served(0s);
  TlsSettings settings;
  settings.certs_dirs = {served.site.dir / "certs.d"};
  settings.certs_host = "registry.test";
  settings.certs_port = served.server.port();
  const std::string folder = served.site.dir / fmt::format("certs.d/registry.test_{}_", served.server.port());
  std::filesystem::create_directories(folder);
  write_text(folder + "/own.pem", served.site.authority.certificate);
  const auto with = [&](const std::string& text) {
    write_text(folder + "/hosts.toml", text);
    return served.accepts(settings);
  };
  const std::string host = fmt::format("registry.test:{}", served.server.port());
  CHECK_FALSE(with("server = \"https://other.test\"\nca = \"own.pem\"\n"));
  CHECK(with(fmt::format("server = \"https://{}\"\nca = [\"own.pem\"]\n", host)));
  CHECK(with(fmt::format("[host.\"https://{}\"]\n  ca = \"{}/own.pem\"\n", host, folder)));
  CHECK_FALSE(with("[host.\"https://other.test\"]\n  skip_verify = true\n"));
  CHECK(with(fmt::format("[host.\"https://{}\"]\n  skip_verify = true\n", host)));
  // As for containerd: what cannot be parsed does not count, and the files beside it do.
  CHECK_FALSE(with("skip_verify = perhaps\n"));
  write_text(folder + "/own.crt", served.site.authority.certificate);
  CHECK(with("skip_verify = perhaps \n"));
}

TEST_CASE("hosts of which the runtimes' folders say nothing share one context") {
  Site site(0s);
  TlsSettings one, two, plain;
  one.certs_dirs = two.certs_dirs = {site.dir / "certs.d"};
  one.certs_host = "one.test";
  two.certs_host = "two.test";
  one.certs_port = two.certs_port = 443;
  write_text(site.dir / "certs.d/two.test/hosts.toml", "[host.\"http://127.0.0.1:5151\"]\n");
  const auto context = [&](const TlsSettings& settings) {
    std::optional<Result<TlsContextPtr>> got;
    Ticket ticket =
        site.contexts->get(settings, [&](Result<TlsContextPtr> result) { got = std::move(result); });
    REQUIRE(site.until([&] { return got.has_value(); }));
    REQUIRE(got->ok());
    return **got;
  };
  const auto shared = context(plain);
  CHECK(context(one) == shared);
  CHECK(context(two) == shared);
  write_text(site.dir / "certs.d/one.test/ca.crt", site.authority.certificate);
  const auto own = context(one);
  CHECK(own != shared);
  CHECK(context(one) == own);
  std::filesystem::remove_all(site.dir / "certs.d/one.test");
  CHECK(context(one) == shared);
}

TEST_CASE("what cannot be used in the runtimes' folders is told, and no reason to fail") {
  TempDir dir;
  write_text(dir / "one/reg.test/hosts.toml", "ca = [");
  auto read = read_certs_folder({dir / "one"}, "reg.test", 443);
  REQUIRE(read);
  CHECK(read->says_nothing());
  CHECK(read->complaint.find("hosts.toml line 1: a list does not end") != std::string::npos);
  CHECK(read_certs_folder({dir / "one"}, "other.test", 443)->complaint.empty());
  for (const char* host : {"", "..", ".", "../one/reg.test"}) {
    INFO(host);
    CHECK(read_certs_folder({dir / "one"}, host, 443)->stamps.empty());
  }
}

TEST_CASE("what a hosts.toml says of TLS is read as containerd reads it") {
  auto parsed = parse_hosts_toml(R"(# generated
server = 'https://registry.test' # upstream
ca = ["/a.pem",
      "/b.pem"]  
client = [["/c.cert", "/c.key"], ["/d.pem", ""]]
[host."https://mirror:5000"]
  capabilities = ["pull", "resolve"]
  ca = "/m.pem"
  client = "/m.cert"
  skip_verify = true
  [host."https://mirror:5000".header]
    x-custom = ["a", "b"]
    ca = "not this one"
[host."http://127.0.0.1:5151"]
  dial_timeout = "200ms"
  header = {Authorization = "Basic x", y = [1, 2.5]}
)");
  REQUIRE(parsed);
  CHECK(parsed->server == "https://registry.test");
  CHECK(parsed->top.ca == std::vector<std::string>{"/a.pem", "/b.pem"});
  REQUIRE(parsed->top.client.size() == 2);
  CHECK(parsed->top.client[0] == std::pair<std::string, std::string>{"/c.cert", "/c.key"});
  CHECK(parsed->top.client[1].second.empty());
  REQUIRE(parsed->hosts.size() == 2);
  CHECK(parsed->hosts[0].first == "https://mirror:5000");
  CHECK(parsed->hosts[0].second.ca == std::vector<std::string>{"/m.pem"});
  CHECK(parsed->hosts[0].second.skip_verify);
  CHECK_FALSE(parsed->hosts[1].second.skip_verify);
  for (const char* wrong : {"ca = ", "ca = [\"a\"", "= 3", "[host.\"x\"", "ca = \"a", "a = 1 b = 2",
                            "skip_verify = \"true\"", "client = [[1]]", "ca = [[[[[[[[[[[[1"}) {
    INFO(wrong);
    auto bad = parse_hosts_toml(std::string("\n") + wrong);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().message.find("line 2") != std::string::npos);
  }
}

TEST_CASE("an authority of the system is told as that") {
  Served served;
  write_text(served.site.dir / "system.crt", served.site.authority.certificate);
  ::setenv("SSL_CERT_FILE", (served.site.dir / "system.crt").c_str(), 1);
  served.site.report = std::make_shared<DialReport>();
  CHECK(served.accepts({}));
  ::unsetenv("SSL_CERT_FILE");
  REQUIRE(served.site.report->tls);
  CHECK(served.site.report->tls->authority_source == "the system's CAs");
}

TEST_CASE("when no certificate of the chain is valid the clock is named") {
  Site site;
  site.authority =
      Identity::make({.common_name = "Site CA", .from_days = 5, .to_days = 900, .is_authority = true});
  write_text(site.dir / "ca.crt", site.authority.certificate);
  TlsServer early(site.served({.names = {"DNS:registry.test"}, .from_days = 6, .to_days = 90}), say_hello);
  const Error error = failure(site, early.port(), site.trusting());
  CHECK(error.diagnosis == "tls_not_yet_valid");
  CHECK(says(error, "this machine's clock is wrong"));
  CHECK(says(error, "no certificate of the chain is valid yet"));
  CHECK(says(error, "set the clock"));
  site.authority =
      Identity::make({.common_name = "Site CA", .from_days = -90, .to_days = -6, .is_authority = true});
  write_text(site.dir / "late.crt", site.authority.certificate);
  TlsServer late(site.served({.names = {"DNS:registry.test"}, .from_days = -80, .to_days = -9}), say_hello);
  const Error old = failure(site, late.port(), site.trusting("late.crt"));
  CHECK(old.diagnosis == "tls_expired");
  CHECK(says(old, "every certificate of the chain has expired"));
}

TEST_CASE("a clock before the day of the build is wrong, whatever the certificates say") {
  const WallTime built = build_day();
  const auto day = std::chrono::hours(24);
  const std::vector<CertificateFacts> chain{facts(built - 100 * day, built + 100 * day)};
  const std::string fault = clock_fault(WallTime(), chain, built);
  CHECK(fault.find("it says 1970-01-01") != std::string::npos);
  CHECK(fault.find("was built on " + date_text(built)) != std::string::npos);
  CHECK(clock_fault(built + day, {facts(built + 2 * day, built + 100 * day)}, built).empty());
  CHECK(clock_fault(built + day, {facts(built + 800 * day, built + 900 * day)}, built)
            .find("most likely wrong") != std::string::npos);
  CHECK(clock_fault(built + 9 * day, {facts(built, built + day)}, built).empty());
}

TEST_CASE("files that are no certificates and keys are told apart") {
  TempDir dir;
  const Identity one = Identity::make({.common_name = "one"}), two = Identity::make({.common_name = "two"});
  const auto refused = [&](const std::string& content, auto read) {
    write_text(dir / "file", content);
    auto result = read(dir / "file");
    REQUIRE_FALSE(result);
    CHECK(result.error().message.find(dir / "file") != std::string::npos);
    return result.error().message;
  };
  const auto certificates = [](const std::string& path) { return read_certificates(path); };
  const auto key = [](const std::string& path) { return read_key(path); };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(refused("", certificates), "is empty"));
  CHECK(has(refused("hello", certificates), "no PEM block (-----BEGIN CERTIFICATE-----)"));
  CHECK(has(refused(one.key, certificates), "holds a private key and no certificate"));
  CHECK(has(refused(one.certificate, key), "holds a certificate and no private key"));
  CHECK(has(refused(std::string("\x30\x82\x01\x00", 4), certificates), "DER"));
  std::string broken = one.certificate + "\n" + two.certificate;
  broken.replace(broken.rfind("-----END") - 20, 4, "AAAA");
  broken.replace(broken.rfind("-----BEGIN") + 40, 4, "!!!!");
  CHECK(has(refused(broken, certificates), "line 1"));
  CHECK(
      has(refused("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", key),
          "encrypted"));
  write_text(dir / "one.crt", one.certificate);
  write_text(dir / "one.key", one.key);
  write_text(dir / "two.key", two.key);
  CHECK(read_client_certificate(dir / "one.crt", dir / "one.key"));
  auto wrong = read_client_certificate(dir / "one.crt", dir / "two.key");
  REQUIRE_FALSE(wrong);
  CHECK(has(wrong.error().message, "does not belong to the certificate"));
  CHECK(has(wrong.error().message, "\"one\""));
  write_text(dir / "both.pem", one.certificate + one.key);
  CHECK(read_client_certificate(dir / "both.pem", ""));
}
