// The way out with real programs: chains made by openssl and served by nginx, a real CONNECT proxy.
#include "tests/real/real.h"
#include "tests/support/free_port.h"
#include "tests/support/tinyproxy.h"

using namespace layerd::test;

namespace {

void openssl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  const Finished finished = run(std::move(arguments));
  INFO(finished.output);
  REQUIRE(finished.status == 0);
}

// A root, an intermediate, and server certificates of any dates, made by `openssl ca`.
struct Authority {
  explicit Authority(std::string folder_) : folder(std::move(folder_)) {
    write_text(folder + "/ca.cnf",
               fmt::format("[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={0}\ndatabase={0}/index\n"
                           "rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                           "[p]\ncommonName=supplied\n",
                           folder));
    write_text(folder + "/index", "");
    request("root", "Root of tests");
    openssl({"x509", "-req", "-in", file("root.csr"), "-signkey", file("root.key"), "-days", "30", "-extfile",
             extensions("basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"), "-out",
             file("root.crt")});
    request("middle", "Intermediate of tests");
    sign("middle", "root", "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n",
         "20200101000000Z", "20491231235959Z");
  }
  std::string file(const std::string& name) const { return folder + "/" + name; }
  std::string extensions(const std::string& text) const {
    write_text(file("ext"), text);
    return file("ext");
  }
  void request(const std::string& name, const std::string& subject) const {
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             "/CN=" + subject, "-keyout", file(name + ".key"), "-out", file(name + ".csr")});
  }
  void sign(const std::string& name, const std::string& by, const std::string& more, const std::string& from,
            const std::string& to) const {
    openssl({"ca", "-batch", "-notext", "-config", file("ca.cnf"), "-cert", file(by + ".crt"), "-keyfile",
             file(by + ".key"), "-startdate", from, "-enddate", to, "-in", file(name + ".csr"), "-extfile",
             extensions(more + "authorityKeyIdentifier=keyid,issuer:always\n"), "-out", file(name + ".crt")});
  }
  // NAME.crt alone and NAME.chain with the intermediate.
  void issue(const std::string& name, const std::string& names, const std::string& from = "20200101000000Z",
             const std::string& to = "20491231235959Z") const {
    request(name, name);
    sign(name, "middle", "basicConstraints=CA:FALSE\nsubjectAltName=" + names + "\n", from, to);
    write_text(file(name + ".chain"), read_text(file(name + ".crt")) + read_text(file("middle.crt")));
  }
  std::string folder;
};

// One nginx with a door for each way to be wrong.
struct Doors {
  struct Door {
    std::string certificate, key, more;  // no certificate: plain HTTP
    std::uint16_t port = free_port();
  };
  Doors(std::string folder_, std::vector<Door> wanted)
      : folder(std::move(folder_)), doors(std::move(wanted)) {
    std::string servers;
    for (const Door& door : doors) {
      const bool tls = !door.certificate.empty();
      servers += fmt::format(
          "server {{ listen 127.0.0.1:{}{}; {} {} location / {{ return 200; }} }}\n", door.port,
          tls ? " ssl" : "",
          tls ? fmt::format("ssl_certificate {}; ssl_certificate_key {};", door.certificate, door.key) : "",
          door.more);
    }
    write_text(
        folder + "/nginx.conf",
        fmt::format("daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\n"
                    "events {{}}\nhttp {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path "
                    "{0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n{1}}}\n",
                    folder, servers));
    nginx.emplace(Command{{"nginx", "-p", folder, "-c", folder + "/nginx.conf", "-e", folder + "/error.log"},
                          {},
                          folder + "/log"});
    for (const Door& door : doors) REQUIRE(wait_for_port(door.port, std::chrono::seconds(10)));
  }
  std::string folder;
  std::vector<Door> doors;
  std::optional<Process> nginx;
};

}  // namespace

TEST_CASE("every way TLS with a registry can fail is told apart, with the remedy, against a real nginx",
          "[real]") {
  TempDir dir;
  std::filesystem::create_directories(dir / "ca");
  std::filesystem::create_directories(dir / "nginx");
  std::filesystem::create_directories(dir / "layerd");
  const Authority ca(dir / "ca");
  ca.issue("good", "IP:127.0.0.1");
  ca.issue("old", "IP:127.0.0.1", "20200101000000Z", "20210203040506Z");
  ca.issue("early", "IP:127.0.0.1", "20480101000000Z");
  ca.issue("other", "DNS:*.github.io,DNS:*.github.com");
  ca.request("self", "alone");
  openssl({"x509", "-req", "-in", ca.file("self.csr"), "-signkey", ca.file("self.key"), "-days", "9",
           "-extfile", ca.extensions("subjectAltName=IP:127.0.0.1\n"), "-out", ca.file("self.crt")});
  struct Case {
    const char* chain;
    const char* key;
    std::string more;  // of nginx's server
    const char* scheme;
    bool trusts;
    const char* says;  // null: TLS works
  };
  const std::string wants =
      "ssl_client_certificate " + ca.file("root.crt") + "; ssl_verify_depth 2; ssl_verify_client on;";
  const std::vector<Case> cases{
      {"good.chain", "good", "", "https", true, nullptr},
      {"good.crt", "good", "", "https", true, "without the intermediate \"Intermediate of tests\""},
      {"good.chain", "good", "", "https", false, "signed by \"Root of tests\", which is not trusted here"},
      {"old.chain", "old", "", "https", true, "\"old\" expired on 2021-02-03 04:05 UTC"},
      {"early.chain", "early", "", "https", true, "\"early\" is valid only from 2048-01-01 00:00 UTC"},
      {"other.chain", "other", "", "https", true, "valid for *.github.io, *.github.com, not 127.0.0.1"},
      {"self.crt", "self", "", "https", true, "certificate \"alone\" is self-signed"},
      {"good.chain", "good", wants, "https", true, "wants a client certificate; set tls.cert_file"},
      {"good.chain", "good", "", "http", true, "speaks TLS and no plain HTTP; write https://"},
      {"", "", "", "https", true, "speaks plain HTTP and no TLS; write http://"}};
  std::vector<Doors::Door> doors;
  for (const Case& row : cases)
    doors.push_back(
        {row.chain[0] ? ca.file(row.chain) : "", ca.file(std::string(row.key) + ".key"), row.more});
  Doors nginx(dir / "nginx", doors);
  std::string mirrors = "mirrors:\n", configs = "configs:\n";
  for (std::size_t i = 0; i < cases.size(); ++i) {
    mirrors += fmt::format("  r{}.test: {{endpoint: [\"{}://127.0.0.1:{}\"], default_endpoint: false}}\n", i,
                           cases[i].scheme, nginx.doors[i].port);
    configs += fmt::format("  \"127.0.0.1:{}\": {{{}}}\n", nginx.doors[i].port,
                           cases[i].trusts ? "tls: {ca_file: " + ca.file("root.crt") + "}" : "");
  }
  Layerd layerd(dir / "layerd", mirrors + configs);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ProbeReply reply = layerd.get(fmt::format("/v2/team/app/manifests/1?ns=r{}.test", i));
    std::string body = reply.body;
    std::erase(body, '\\');  // of JSON
    INFO(i << ": " << reply.status << " " << body);
    CHECK(reply.status >= 400);
    if (cases[i].says != nullptr)
      CHECK(body.find(cases[i].says) != std::string::npos);
    else
      CHECK(body.find("TLS") == std::string::npos);
  }
}

TEST_CASE("a pull through a real proxy: TLS by a tunnel, plain HTTP in absolute form, names looked up there",
          "[real]") {
  TempDir dir;
  PrivateCa ca(dir / "ca");
  for (const char* folder : {"proxy", "layerd"}) std::filesystem::create_directories(dir / folder);
  const Image image = make_image({{2 << 20, 1000}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  RegistrySettings settings{dir / "storage"};
  bool tls = false;
  SECTION("TLS") {
    tls = true;
    settings.certificate = ca.issue("registry", "DNS:far.example");
  }
  SECTION("plain HTTP") {}
  DockerRegistry registry(dir / "registry", settings);
  Tinyproxy proxy(dir / "proxy", {"127.0.0.1 far.example\n", "bob", "s3cret", "^denied"});
  const std::string endpoint = fmt::format("{}://far.example:{}", tls ? "https" : "http", registry.port());
  const auto configure = [&](const std::string& user) {
    const std::string url = fmt::format("http://{}@{}", user, proxy.address());
    return mirror_of(endpoint, tls ? "tls: {ca_file: " + ca.ca_file() + "}" : "auth: {}") +
           fmt::format("proxy: {{https: \"{0}\", http: \"{0}\"}}\n", url);
  };
  Layerd layerd(dir / "layerd", configure("bob:s3cret"));
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", layerd.url());
  const Finished pulled = containerd.pull("registry.test/team/app:1");
  INFO(pulled.output << layerd.log() << proxy.log());
  REQUIRE(pulled.status == 0);
  CHECK(proxy.log().find(tls ? "CONNECT far.example" : "GET http://far.example") != std::string::npos);
  REQUIRE(layerd.stop() == 0);
  layerd.configure(configure("bob:wrong"));
  layerd.start();
  const ProbeReply refused = layerd.get("/v2/team/app/manifests/2?ns=registry.test");
  INFO(refused.body);
  CHECK(refused.status == 502);
  CHECK(refused.body.find("the proxy http://" + proxy.address() + " answered 40") != std::string::npos);
  CHECK((refused.body + layerd.log()).find("s3cret") == std::string::npos);
}
