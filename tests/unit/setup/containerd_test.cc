// The planner of `layerd setup containerd`, with texts alone.
#include "daemon/setup/containerd.h"

#include "daemon/setup/yaml_edit.h"
#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;

namespace {
const std::string kV2 =
    "version = 2\n# mine\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
    "\"/etc/containerd/certs.d\"\n";

Input input_with(std::vector<std::string> hosts) {
  Input input;
  input.image_hosts = std::move(hosts);
  return input;
}
std::string hosts_file(const std::string& name) { return "/etc/containerd/certs.d/" + name + "/hosts.toml"; }
}  // namespace

TEST_CASE("every registry of the node's images, docker.io and the default get an entry; nothing restarts") {
  TextFiles files(Texts{{"/etc/containerd/config.toml", kV2}});
  const Plan plan = good(plan_containerd(files, input_with({"ghcr.io", "harbor.corp:30002"})));
  for (const char* name : {"docker.io", "ghcr.io", "harbor.corp_30002_", "_default"}) {
    INFO(name);
    CHECK(after(plan, hosts_file(name))
              .find("[host.\"http://127.0.0.1:5151\"]\n  capabilities = [\"pull\", \"resolve\"]\n") !=
          std::string::npos);
    CHECK(after(plan, hosts_file(name)).find("server") == std::string::npos);
  }
  CHECK(after(plan, "/etc/containerd/config.toml") == "(unchanged)");
  CHECK(plan.todo.empty());
  CHECK(plan.copied.empty());
  files.take(plan);
  CHECK(good(plan_containerd(files, input_with({"ghcr.io", "harbor.corp:30002"}))).changes.empty());
}

TEST_CASE(
    "config_path is set where it is missing, empty or a list of two, in the form of the file's version") {
  const std::string path = "/etc/containerd/config.toml";
  const auto planned = [&](std::map<std::string, std::string> texts) {
    TextFiles files(std::move(texts));
    Plan plan = good(plan_containerd(files, {}));
    CHECK(all_notes(plan).find("todo: config_path is read when containerd starts") != std::string::npos);
    files.take(plan);
    CHECK(good(plan_containerd(files, {})).changes.empty());
    return plan;
  };
  CHECK(after(planned({}), path)
            .find("version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
                  "\"/etc/containerd/certs.d\"\n") != std::string::npos);
  CHECK(
      after(
          planned(
              {{path,
                "version = 3 # new\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'overlayfs'"}}),
          path) ==
      "version = 3 # new\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'overlayfs'\n\n"
      "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n");
  CHECK(after(planned({{path,
                        "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n"
                        "config_path = '/etc/containerd/certs.d:/etc/docker/certs.d' # default\n"}}),
              path) ==
        "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n"
        "config_path = \"/etc/containerd/certs.d\" # default\n");
  CHECK(after(planned(
                  {{path,
                    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n"}}),
              path) ==
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = "
        "\"/etc/containerd/certs.d\"\n");
  CHECK(after(planned({{path, "[plugins.cri.registry]\n  # nothing\n"}}), path) ==
        "[plugins.cri.registry]\n  config_path = \"/etc/containerd/certs.d\"\n  # nothing\n");
}

TEST_CASE("config_path of an imported file counts") {
  TextFiles files(Texts{
      {"/etc/containerd/config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"},
      {"/etc/containerd/conf.d/10-cri.toml",
       "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/srv/hosts\"\n"}});
  const Plan plan = good(plan_containerd(files, {}));
  CHECK(after(plan, "/srv/hosts/docker.io/hosts.toml") != "(unchanged)");
  CHECK(plan.todo.empty());
}

TEST_CASE("a hosts.toml of somebody else is kept and layerd stands first; what it says is copied") {
  const std::string own =
      "# our Harbor\nserver = \"https://registry-1.docker.io\"\n\n"
      "[host.\"https://harbor.corp/v2/hub\"] # proxy cache\n  capabilities = [\"pull\", \"resolve\"]\n  "
      "override_path = true\n"
      "  ca = \"/etc/ssl/corp.crt\"\n  client = [[\"c.pem\", \"c.key\"]]\n  "
      "[host.\"https://harbor.corp/v2/hub\".header]\n"
      "    Authorization = \"Basic cm9ib3QkcHVsbDpzM2NyZXQ=\"\n"
      "[host.\"https://push.corp\"]\n  capabilities = [\"push\"]\n";
  TextFiles files(Texts{{"/etc/containerd/config.toml", kV2}, {hosts_file("docker.io"), own}});
  const Plan plan = good(plan_containerd(files, {}));
  const std::string text = after(plan, hosts_file("docker.io"));
  const auto at = text.find("# layerd begin: layerd setup containerd\n[host.\"http://127.0.0.1:5151\"]");
  CHECK(at != std::string::npos);
  CHECK(at < text.find("[host.\"https://harbor.corp"));
  CHECK(text.starts_with("# our Harbor\nserver = "));
  CHECK(*good(without_layerd("x", text, "http://127.0.0.1:5151")) == own);

  const auto& mirror = plan.copied.mirrors.at("docker.io");
  CHECK(mirror.endpoints == std::vector<std::string>{"https://harbor.corp/v2/hub"});
  CHECK(mirror.default_endpoint);
  const auto& host = plan.copied.configs.at("harbor.corp");
  CHECK(host.username == "robot$pull");
  CHECK(host.password == "s3cret");
  CHECK(host.ca_file == "/etc/ssl/corp.crt");
  CHECK(host.cert_file == "/etc/containerd/certs.d/docker.io/c.pem");
  CHECK(host.key_file == "/etc/containerd/certs.d/docker.io/c.key");
}

TEST_CASE("a server that is not the registry's own is the last endpoint, and nothing comes after it") {
  TextFiles files(
      Texts{{"/etc/containerd/config.toml", kV2},
            {hosts_file("nexus.local_8082_"), "server = \"https://nexus.corp:5000\"\nskip_verify = true\n"}});
  const Plan plan = good(plan_containerd(files, {}));
  const auto& mirror = plan.copied.mirrors.at("nexus.local:8082");
  CHECK(mirror.endpoints == std::vector<std::string>{"https://nexus.corp:5000"});
  CHECK_FALSE(mirror.default_endpoint);
  CHECK(plan.copied.configs.at("nexus.corp:5000").skip_verify);
}

TEST_CASE("a registry with a file of its own is named in layerd's configuration, so that it may be private") {
  TextFiles files(
      Texts{{"/etc/containerd/config.toml", kV2},
            {hosts_file("harbor.corp"), "server = \"https://harbor.corp\"\n[host.\"https://harbor.corp\"]\n"},
            {hosts_file("plain.corp_30002_"), "server = \"https://plain.corp:30002\"\n"},
            {hosts_file("zoo.corp"), "[host.\"https://plain.corp:30002\"]\nca = \"/x.crt\"\n"}});
  Input input;
  input.image_hosts = {"ghcr.io"};
  Plan plan = good(plan_containerd(files, input));
  CHECK(plan.copied.configs.at("plain.corp:30002").ca_file == "/x.crt");
  CHECK((plan.copied.configs.contains("harbor.corp") || plan.copied.mirrors.contains("harbor.corp")));
  CHECK_FALSE(plan.copied.configs.contains("ghcr.io"));
  const Copied first = plan.copied;
  files.take(plan);
  plan = good(plan_containerd(files, input));
  CHECK(plan.copied == first);  // what setup wrote itself names nobody
  std::vector<std::string> notes;
  CHECK(read_copied("x", good(read_yaml("x", copied_text(first, "head"))), notes) == first);
}

TEST_CASE("certificates that lie in a folder without hosts.toml are named in the new one and copied") {
  TextFiles files(Texts{{"/etc/containerd/config.toml", kV2},
                        {"/etc/containerd/certs.d/reg.corp/ca.crt", "PEM"},
                        {"/etc/containerd/certs.d/reg.corp/me.cert", "PEM"},
                        {"/etc/containerd/certs.d/reg.corp/me.key", "PEM"}});
  const Plan plan = good(plan_containerd(files, {}));
  const std::string text = after(plan, hosts_file("reg.corp"));
  CHECK(text.find("ca = [\"ca.crt\"]\nclient = [[\"me.cert\", \"me.key\"]]\n") != std::string::npos);
  CHECK(text.find("ca = ") < text.find("[host."));
  CHECK(plan.copied.configs.at("reg.corp").ca_file == "/etc/containerd/certs.d/reg.corp/ca.crt");
}

TEST_CASE("a registry that an alias renames wholly is closed; --no-fallback closes all") {
  TextFiles files(Texts{{"/etc/containerd/config.toml", kV2},
                        {hosts_file("hub.local"), "server = \"https://old.corp\"\n"}});
  Input input;
  input.closed_hosts = {"hub.local"};
  Plan plan = good(plan_containerd(files, input));
  CHECK(after(plan, hosts_file("hub.local"))
            .find("server = \"http://127.0.0.1:5151\"  # layerd: was \"https://old.corp\"\n") !=
        std::string::npos);
  CHECK(*good(without_layerd("x", after(plan, hosts_file("hub.local")), input.url)) ==
        "server = \"https://old.corp\"\n");
  CHECK(after(plan, hosts_file("docker.io")).find("server") == std::string::npos);
  files.take(plan);
  CHECK(good(plan_containerd(files, input)).changes.empty());
  input.keep_fallback = false;
  plan = good(plan_containerd(files, input));
  CHECK(after(plan, hosts_file("docker.io")).starts_with("server = \"http://127.0.0.1:5151\""));
  CHECK(after(plan, hosts_file("_default")).starts_with("server = \"http://127.0.0.1:5151\""));
}

TEST_CASE("with the old registry.mirrors layerd goes where the mirrors are") {
  const std::string
      path = "/etc/containerd/config.toml",
      old =
          "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
          "  endpoint = [\"https://m.corp\"] # ours\n"
          "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"m.corp\".tls]\n"
          "  ca_file = \"/etc/ssl/m.crt\"\n";
  TextFiles files(Texts{{path, old}});
  Input input;
  input.image_hosts = {"ghcr.io"};
  const Plan plan = good(plan_containerd(files, input));
  const std::string text = after(plan, path);
  CHECK(text.find("  endpoint = [\"http://127.0.0.1:5151\", \"https://m.corp\"] # ours\n") !=
        std::string::npos);
  for (const char* host : {"ghcr.io", "*"})
    CHECK(text.find(std::string(".registry.mirrors.\"") + host +
                    "\"]\n  endpoint = [\"http://127.0.0.1:5151\"]\n") != std::string::npos);
  CHECK(plan.copied.mirrors.at("docker.io").endpoints == std::vector<std::string>{"https://m.corp"});
  CHECK(plan.copied.configs.at("m.corp").ca_file == "/etc/ssl/m.crt");
  CHECK(all_notes(plan).find("todo: registry.mirrors is read when containerd starts") != std::string::npos);
  files.take(plan);
  CHECK(good(plan_containerd(files, input)).changes.empty());
}

TEST_CASE("files that are no TOML, or that containerd would leave out, are refused with their place") {
  TextFiles broken(
      Texts{{"/etc/containerd/config.toml", kV2}, {hosts_file("docker.io"), "server = https://x\n"}});
  const auto wrong = plan_containerd(broken, {});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message.find(hosts_file("docker.io") + ":1:10: ") == 0);
  TextFiles unknown(Texts{{"/etc/containerd/config.toml", kV2},
                          {hosts_file("docker.io"), "[host.\"https://x\"]\ncapabilities = [\"pul\"]\n"}});
  CHECK(plan_containerd(unknown, {})
            .error()
            .message.find(hosts_file("docker.io") + ":2: \"pul\" is no capability") == 0);
}

TEST_CASE(
    "a hosts.toml that names a file that is not there is told, since containerd fails every pull by it") {
  const std::string own = "[host.\"https://harbor.corp\"]\nca = [\"ca.crt\", \"/etc/ssl/gone.crt\"]\n";
  TextFiles files(Texts{{"/etc/containerd/config.toml", kV2},
                        {hosts_file("harbor.corp"), own},
                        {"/etc/containerd/certs.d/harbor.corp/ca.crt", "PEM"}});
  const Plan plan = good(plan_containerd(files, {}));
  CHECK(all_notes(plan).find("names /etc/ssl/gone.crt, which is not there: containerd fails every pull of "
                             "harbor.corp") != std::string::npos);
  CHECK(all_notes(plan).find("names ca.crt") == std::string::npos);
}

TEST_CASE("the logins of config.toml are copied and stay") {
  TextFiles files(
      Texts{{"/etc/containerd/config.toml",
             kV2 + "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"reg.corp:5000\".auth]\n"
                   "  username = \"u\"\n  password = \"p$!@\"\n"}});
  const Plan plan = good(plan_containerd(files, {}));
  CHECK(plan.copied.configs.at("reg.corp:5000").password == "p$!@");
  CHECK(after(plan, "/etc/containerd/config.toml") == "(unchanged)");
}

TEST_CASE("Spegel's traces are found and explained; containerd without CRI as well") {
  TextFiles files(Texts{
      {"/etc/containerd/config.toml", "disabled_plugins = [\"cri\"]\n" + kV2},
      {hosts_file("ghcr.io"), "[host.\"http://127.0.0.1:30020\"]\ncapabilities = ['pull', 'resolve']\n"}});
  const Plan plan = good(plan_containerd(files, {}));
  CHECK(all_notes(plan).find("Spegel writes into /etc/containerd/certs.d as well") != std::string::npos);
  CHECK(all_notes(plan).find("without its CRI plugin") != std::string::npos);
}
