// The way to an upstream through a whole daemon: certificates that change under it, the runtimes' own
// folders, proxies, the limit of all downloads.
#include <filesystem>

#include "tests/flow/flow.h"
#include "tests/support/fake_proxy.h"

using namespace layerd::test;

namespace {

std::string mirror_of(const FaultyUpstream& upstream) {
  return fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n",
                     upstream.url());
}

}  // namespace

TEST_CASE("a CA that is replaced on the disk counts within seconds, and no running download is lost",
          "[way_out]") {
  TempDir dir;
  PrivateCa first(dir / "first"), second(dir / "second");
  std::filesystem::copy_file(first.ca_file(), dir / "ca.crt");
  auto secure = std::make_unique<FaultyUpstream>(first.issue("registry", "IP:127.0.0.1"));
  const Image image = make_image({{1000 * 1000}});
  secure->add(image, "team/app", "1");
  Fault slow;
  slow.bytes_per_second = 400 * 1000;
  slow.methods = "GET";
  secure->fault("/blobs/" + image.layers[0], slow);
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(mirror_of(*secure) + fmt::format("configs: {{\"{}\": {{tls: {{ca_file: {}}}}}}}\n",
                                                         secure->address(), dir / "ca.crt"));
  flow.layerd.start();
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  ProbeReply running;
  std::thread pull([&] { running = flow.layerd.get(Flow::blob(image.layers[0])); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::filesystem::copy_file(second.ca_file(), dir / "new.crt");
  std::filesystem::rename(dir / "new.crt", dir / "ca.crt");
  pull.join();
  CHECK(running.body == image.blobs.at(image.layers[0]));
  // The registry takes a certificate of the new authority, on the same port.
  const auto port = secure->port();
  secure.reset();
  FaultyUpstream renewed(second.issue("renewed", "IP:127.0.0.1"), port);
  renewed.add(image, "team/app", "2");
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("2")).status == 200; }));
}

TEST_CASE("docker's certs.d is read without being asked to", "[way_out]") {
  TempDir dir;
  PrivateCa ca(dir / "ca");
  FaultyUpstream secure(ca.issue("registry", "IP:127.0.0.1"));
  secure.add(make_image({}), "team/app", "1");
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(mirror_of(secure) + fmt::format("certs_dirs: [{}]\n", dir / "certs.d"));
  flow.layerd.start();
  const ProbeReply refused = flow.layerd.get(Flow::manifest("1"));
  CHECK(refused.status == 502);
  CHECK(refused.body.find("set tls.ca_file") != std::string::npos);
  std::filesystem::create_directories(dir / "certs.d/" + secure.address());
  std::filesystem::copy_file(ca.ca_file(), dir / "certs.d/" + secure.address() + "/ca.crt");
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("1")).status == 200; }));
}

TEST_CASE("pulls go through the proxy that is configured, and what it refuses is told in its words",
          "[way_out]") {
  TempDir dir;
  PrivateCa ca(dir / "ca");
  FaultyUpstream secure(ca.issue("registry", "DNS:far.example"));
  const Image image = make_image({{300 * 1000}});
  secure.add(image, "team/app", "1");
  FakeProxy proxy({.routes = {{"far.example:5000", secure.port()}}, .user_and_password = "bob:s3cret$x"});
  Flow flow;
  const auto configure = [&](const std::string& user) {
    flow.layerd.stop();
    flow.layerd.configure(
        "mirrors: {registry.test: {endpoint: [\"https://far.example:5000\"], default_endpoint: false}}\n" +
        fmt::format("configs: {{\"far.example:5000\": {{tls: {{ca_file: {}}}}}}}\n", ca.ca_file()) +
        fmt::format("proxy: {{https: \"{}\"}}\n", proxy.url(user)));
    flow.layerd.start();
  };
  configure("bob:s3cret%24x");
  const ProbeReply manifest = flow.layerd.get(Flow::manifest("1"));
  INFO(manifest.status << " " << manifest.body);
  REQUIRE(manifest.status == 200);
  CHECK(flow.layerd.get(Flow::blob(image.layers[0])).body == image.blobs.at(image.layers[0]));
  configure("bob:wrong-s3cret");
  const ProbeReply refused = flow.layerd.get(Flow::manifest("2"));
  CHECK(refused.status == 502);
  CHECK(refused.body.find("answered 407 Proxy Authentication Required to CONNECT far.example:5000") !=
        std::string::npos);
  CHECK(refused.reason.find("407") != std::string::npos);
  CHECK((flow.layerd.log() + refused.body).find("s3cret") == std::string::npos);
  const Finished printed = flow.layerd.command({"config"});
  CHECK(printed.output.find("****@") != std::string::npos);
  CHECK(printed.output.find("s3cret") == std::string::npos);
}

TEST_CASE("a proxy that is configured later counts after a reload, and one taken out no longer",
          "[way_out]") {
  FaultyUpstream far;
  far.add(make_image({}), "team/app", "1");
  FakeProxy proxy({.routes = {{"far.example:80", far.port()}}});
  Flow flow;
  const std::string mirrors =
      "mirrors: {registry.test: {endpoint: [\"http://far.example\"], default_endpoint: false}}\n"
      "configs: {far.example: {}}\ntimeouts: {connect: 500ms}\n";
  const auto reload = [&](const std::string& more) {
    flow.layerd.configure(mirrors + more);
    flow.layerd.process().send(SIGHUP);
  };
  reload(fmt::format("proxy: {{http: \"{}\"}}\n", proxy.url()));
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("1")).status == 200; }));
  CHECK_FALSE(proxy.requests().empty());
  reload("");
  CHECK(eventually([&] {
    const ProbeReply reply = flow.layerd.get(Flow::manifest("none"));
    return reply.status == 502 && reply.body.find("far.example") != std::string::npos;
  }));
}

TEST_CASE("a registry named in no_proxy is asked directly", "[way_out]") {
  FakeProxy proxy({});
  FaultyUpstream near;
  near.add(make_image({}), "team/app", "1");
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(fmt::format(
      "mirrors: {{registry.test: {{endpoint: [\"http://near.example:{}\"], default_endpoint: false}}}}\n"
      "dns: {{hosts: {{near.example: 127.0.0.1}}}}\n"
      "proxy: {{http: \"{}\", no_proxy: [.example]}}\n",
      near.port(), proxy.url()));
  flow.layerd.start();
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  CHECK(proxy.requests().empty());
}

TEST_CASE("all downloads together keep to limits.download", "[way_out]") {
  Flow flow({"limits: {download: 8Mbit}\n"});
  const std::string one = random_bytes(1000 * 1000, 1), two = random_bytes(1000 * 1000, 2);
  const std::string first = flow.upstream.add_blob(one), second = flow.upstream.add_blob(two);
  const auto begin = std::chrono::steady_clock::now();
  const auto replies =
      probe_together({{flow.layerd.port(), Flow::blob(first)}, {flow.layerd.port(), Flow::blob(second)}});
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(replies[0].body == one);
  CHECK(replies[1].body == two);
  // 2 MB at 1 MB/s, less what may be saved up: noise can only make it longer.
  CHECK(took > std::chrono::milliseconds(1700));
}
