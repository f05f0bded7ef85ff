// Members made by nothing but the commands, as the README says it, and what the commands show of them.
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/site/site.h"

using namespace layerd::test;
using Json = nlohmann::json;

namespace {

constexpr std::size_t kBlob = 9u << 20;  // two units

// Blobs apart, so that each step of a test has one that nobody has yet.
Image make_blobs(std::size_t count, std::uint64_t seed) {
  ImageShape shape;
  shape.layers = std::vector<std::size_t>(count, kBlob);
  shape.seed = seed;
  return make_image(shape);
}

// A machine with layerd, which knows of no other one.
class Machine {
 public:
  Machine(Machines& machines, std::size_t number, const std::string& more = "")
      : machines_(machines), number_(number) {
    const auto inside = machines.net().inside(number);
    layerd_.emplace(machines.folder(number), mirror_of(machines.upstream()) + more);
  }

  std::string address() const { return NetSite::address(number_); }
  std::string id() const { return Machines::member(number_); }
  std::string file(const std::string& name) const { return machines_.folder(number_) + "/" + name; }
  std::string log() const { return layerd_->log(); }

  void restart(const std::string& more) {
    const auto inside = machines_.net().inside(number_);
    layerd_->stop();
    layerd_->configure(mirror_of(machines_.upstream()) + more);
    layerd_->start();
  }
  void reload(const std::string& more) {
    layerd_->configure(mirror_of(machines_.upstream()) + more);
    layerd_->process().send(SIGHUP);
  }
  // Runs it with sh as root of this machine would: `layerd` and `systemctl restart layerd` are those of here.
  void shell(const std::string& script);
  // layerd COMMAND, on this machine.
  std::string command(const std::vector<std::string>& arguments) {
    const auto inside = machines_.net().inside(number_);
    const Finished finished = layerd_->command(arguments);
    INFO(finished.output);
    CHECK(finished.status == 0);
    return finished.output;
  }
  Json json(const std::string& name) { return Json::parse(command({name, "--json"})); }
  Json member(const std::string& id) {
    const Json members = json("peers")["members"];
    for (const Json& row : members)
      if (row["id"] == id) return row;
    return {};
  }
  ProbeReply get(const std::string& digest) {
    const auto inside = machines_.net().inside(number_);
    ProbeRequest request{layerd_->port(), "/v2/team/app/blobs/" + digest + "?ns=registry.test"};
    request.timeout = std::chrono::seconds(120);
    return probe(request);
  }
  // As a runtime does before it asks for blobs: the manifest, which says that they belong to the repository.
  bool resolves() {
    const auto inside = machines_.net().inside(number_);
    return probe({layerd_->port(), "/v2/team/app/manifests/1?ns=registry.test"}).status == 200;
  }
  bool gets(const Image& image, std::size_t blob) {
    if (!resolves()) return false;
    const ProbeReply reply = get(image.layers.at(blob));
    UNSCOPED_INFO("node " << number_ << ": " << reply.status << " " << reply.reason << ", "
                          << reply.body.size() << " bytes in " << reply.total.count() << " ms");
    return reply.body == image.blobs.at(image.layers.at(blob));
  }
  double metric(const std::string& name) {
    const auto inside = machines_.net().inside(number_);
    return std::max(0.0, layerd_->metric(name));
  }

 private:
  Machines& machines_;
  const std::size_t number_;
  std::optional<Layerd> layerd_;
};

void Machine::shell(const std::string& script) {
  const std::string bin = file("bin"), wish = file("restart");
  write_text(bin + "/layerd", fmt::format("#!/bin/sh\nexec {}/layerd --config {} \"$@\"\n", LAYERD_BINARY_DIR,
                                          layerd_->config_file()));
  write_text(bin + "/systemctl", fmt::format("#!/bin/sh\n[ \"$*\" = 'restart layerd' ] || exit 9\ntouch {0}\n"
                                             "while [ -e {0} ]; do sleep 0.05; done\n",
                                             wish));
  for (const char* name : {"/layerd", "/systemctl"}) chmod((bin + name).c_str(), 0755);
  write_text(file("script"), "set -e\ncd " + machines_.folder(number_) + "\n" + script);
  const auto inside = machines_.net().inside(number_);
  Process shell(
      Command{{"sh", file("script")}, {{"PATH", bin + ":" + std::getenv("PATH")}}, file("script.log")});
  std::optional<int> status;
  while (!(status = shell.wait(std::chrono::milliseconds(50)))) {
    if (!std::filesystem::exists(wish)) continue;
    layerd_->stop();
    layerd_->start();
    std::filesystem::remove(wish);
  }
  INFO(script << shell.output() << log());
  CHECK(*status == 0);
}

// The sh blocks of the README's section, with the addresses and folders of these machines.
std::vector<std::string> readme_steps(const Machine& machine) {
  std::string text = read_text(LAYERD_SOURCE_DIR "/README.md");
  text = text.substr(text.find("\n## Sharing between nodes"));
  text = text.substr(0, text.find("\n## ", 1));
  std::vector<std::string> steps;
  for (std::size_t at = 0; (at = text.find("```sh\n", at)) != std::string::npos;) {
    const std::size_t begin = at + 6;
    at = text.find("```", begin);
    std::string step = text.substr(begin, at - begin);
    for (std::size_t number = 0; number < 3; ++number) {
      const std::string theirs = fmt::format("10.0.0.{}", number + 1);
      for (std::size_t found; (found = step.find(theirs)) != std::string::npos;)
        step.replace(found, theirs.size(), NetSite::address(number));
    }
    for (const std::string folder : {"/etc/layerd/", "/root/"})
      for (std::size_t found; (found = step.find(folder)) != std::string::npos;)
        step.replace(found, folder.size(), machine.file(""));
    std::istringstream lines(step);  // those below a list item are indented
    std::string flat;
    for (std::string line; std::getline(lines, line);)
      flat += line.substr(line.starts_with("   ") ? 3 : 0) + "\n";
    steps.push_back(flat);
    at += 3;
  }
  return steps;
}

std::vector<std::string> ids(Machine& machine) {
  std::vector<std::string> found;
  const Json members = machine.json("peers")["members"];
  for (const Json& row : members) found.push_back(row["id"]);
  std::sort(found.begin(), found.end());
  return found;
}

// With the WAN cut there is nobody else. A machine that is starved may think for a while that nobody is
// there.
void must_come_from_members(Machines& machines, Machine& from, Machine& to, const Image& image,
                            std::size_t blob) {
  INFO("blob " << blob);
  CHECK(eventually([&] { return from.gets(image, blob); }));
  machines.plug_wan(false);
  const double received = to.metric("layerd_peers_received_bytes_total");
  CHECK(eventually([&] { return to.gets(image, blob); }));
  CHECK(to.metric("layerd_peers_received_bytes_total") - received >= kBlob);
  machines.plug_wan(true);
}

std::size_t times(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++count;
  return count;
}

std::string peers_at(std::size_t number, const std::string& secret, const std::string& members) {
  return fmt::format("peers: {{listen: '{}', site: lab, secret_file: {}, {}}}\n", Machines::member(number),
                     secret, members);
}
std::string listed(const std::vector<std::string>& members) {
  std::string text;
  for (const auto& member : members) text += fmt::format("{}'{}'", text.empty() ? "" : ", ", member);
  return "members: [" + text + "]";
}

std::string line_of(const std::string& text, const std::string& begin) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(begin)) return line;
  return "";
}

// A complaint is in the log once, and told by `layerd peers` as often as it is asked.
void check_told(Machine& machine, const std::string& words, const std::string& event) {
  INFO(words << "\n" << machine.log());
  for (int asked = 0; asked < 2; ++asked)
    CHECK(eventually([&] { return times(machine.command({"peers"}), words) == 1; }));
  std::istringstream lines(machine.log());
  std::size_t told = 0;
  for (std::string line; std::getline(lines, line);)
    told += line.find("event=" + event) != std::string::npos && line.find(words) != std::string::npos;
  CHECK(told == 1);
}

}  // namespace

TEST_CASE("three machines become a site by what the README says, and share what they pull",
          "[site][commands]") {
  const Image image = make_blobs(2, 30);
  Machines machines(image, 3, 200);
  Machine one(machines, 0), two(machines, 1), three(machines, 2);
  const auto on_first = readme_steps(one), on_second = readme_steps(two), on_third = readme_steps(three);
  REQUIRE(on_first.size() == 2);
  CHECK(one.command({"peers"}) == "nothing is shared: peers.listen is not configured (docs/settings.md)\n");
  one.shell(on_first[0]);
  for (Machine* other : {&two, &three}) {
    std::filesystem::copy_file(one.file("invitation"), other->file("invitation"));  // scp
    other->shell(other == &two ? on_second[1] : on_third[1]);
    CHECK_FALSE(std::filesystem::exists(other->file("invitation")));
  }
  struct stat secret {};
  CHECK(stat(two.file("peer.key").c_str(), &secret) == 0);
  CHECK((secret.st_mode & 0777) == 0600);
  for (Machine* machine : {&one, &two, &three}) {
    CHECK(ids(*machine) == std::vector<std::string>{one.id(), two.id(), three.id()});
    CHECK_THAT(machine->command({"peers"}), Catch::Contains("site plant-7: this node is " + machine->id()) &&
                                                Catch::Contains("peers.members: 3 members") &&
                                                Catch::Contains("this node"));
    // Before anything is pulled each of them knows that the others answer.
    for (Machine* other : {&one, &two, &three}) {
      if (other == machine) continue;
      INFO(machine->id() << " of " << other->id() << "\n" << machine->log());
      CHECK(eventually([&] { return machine->member(other->id())["state"] == "alive"; }));
      CHECK(machine->member(other->id())["latency_ms"].is_number());
    }
    CHECK_THAT(machine->command({"peers"}), !Catch::Contains("! "));
  }

  must_come_from_members(machines, one, two, image, 0);
  const Json row = two.member(one.id());
  CHECK(row["state"] == "alive");
  CHECK(row["latency_ms"].is_number());
  CHECK(row["received_bytes"] >= kBlob);
  CHECK(row["sources"] == Json({"peers.members"}));
  CHECK(one.member(two.id())["sent_bytes"] >= kBlob);
  // NAME, STATE, LATENCY, SENT, RECEIVED, FAULTS, LISTED BY
  CHECK_THAT(line_of(two.command({"peers"}), one.id()),
             Catch::Matches(one.id() + " +" + one.id() +
                            " +alive +[0-9.]+ ms +0 B +9\\.0 MiB +[0-9]+ +peers\\.members *"));

  // The second blob to two of them at once: status says what comes from where while it comes.
  const std::string& digest = image.layers[1];
  CHECK(three.resolves());
  machines.net().shape_upstream(3);
  ProbeReply replies[2];
  std::thread first([&] { replies[0] = two.get(digest); }), second([&] { replies[1] = three.get(digest); });
  bool from_member = false, from_upstream = false, in_text = false;
  eventually([&] {
    for (Machine* machine : {&two, &three}) {
      const Json status = machine->json("status");
      for (const Json& download : status["downloads"])
        for (const Json& unit : download["units"])
          (unit["from"] == "upstream" ? from_upstream : from_member) = true;
      in_text = in_text || machine->command({"status"}).find("members ") != std::string::npos;
    }
    return (from_member && from_upstream && in_text) || replies[0].complete;
  });
  machines.net().shape_upstream(400);
  first.join();
  second.join();
  for (const ProbeReply& reply : replies) CHECK((reply.body == image.blobs.at(digest)));
  CHECK(from_member);
  CHECK(from_upstream);
  CHECK(in_text);
}

TEST_CASE("the secret of a site is changed while its nodes share", "[site][long][commands]") {
  const Image image = make_blobs(4, 31);
  Machines machines(image, 2, 400);
  const auto members = listed({Machines::member(0), Machines::member(1)});
  const std::string files[] = {machines.folder(0) + "/peer.key", machines.folder(1) + "/peer.key"};
  make_secret(files[0]);
  std::filesystem::copy_file(files[0], files[1]);
  chmod(files[1].c_str(), 0600);
  Machine one(machines, 0, peers_at(0, files[0], members)), two(machines, 1, peers_at(1, files[1], members));
  must_come_from_members(machines, one, two, image, 0);

  // Everywhere as the second line; everywhere as the first one; and the old one goes.
  const std::string old = read_text(files[0]);
  one.shell("layerd peers secret >> peer.key");
  const std::string both = read_text(files[0]), fresh = both.substr(old.size());
  REQUIRE(fresh.size() == old.size());
  REQUIRE(fresh != old);
  must_come_from_members(machines, one, two, image, 1);
  write_text(files[1], both);
  write_text(files[0], fresh + old);
  must_come_from_members(machines, two, one, image, 2);
  write_text(files[1], fresh);
  write_text(files[0], fresh);
  must_come_from_members(machines, one, two, image, 3);
}

TEST_CASE("a wrong secret is named on both sides, and every pull works", "[site][commands]") {
  const Image image = make_blobs(1, 32);
  Machines machines(image, 2, 400);
  const auto members = listed({Machines::member(0), Machines::member(1)});
  Machine one(machines, 0, peers_at(0, make_secret(machines.folder(0) + "/peer.key"), members));
  Machine two(machines, 1, peers_at(1, make_secret(machines.folder(1) + "/peer.key"), members));
  for (Machine* machine : {&one, &two}) CHECK(machine->gets(image, 0));
  for (Machine* machine : {&one, &two}) {
    Machine& other = machine == &one ? two : one;
    INFO(machine->log());
    CHECK(eventually([&] { return machine->member(other.id())["state"] == "refused"; }));
    CHECK_THAT(machine->command({"peers"}),
               Catch::Contains(fmt::format("! {0} is refused: member {0}: it does not know our site secret",
                                           other.id())) &&
                   Catch::Contains("peers.secret_file"));
    CHECK(eventually([&] { return times(machine->log(), "event=peer_refused") == 1; }));
    CHECK_THAT(machine->log(), Catch::Contains("peer=" + other.address() + " why=peer_other_secret"));
    CHECK(machine->metric("layerd_peers_received_bytes_total") == 0);
  }
}

// rules: pulls-without-a-peer-port, peers-file-costs-the-sharing
TEST_CASE("a secret that is none costs the sharing and nothing else, until it is one", "[site][commands]") {
  const Image image = make_blobs(2, 33);
  Machines machines(image, 2, 400);
  const auto members = listed({Machines::member(0), Machines::member(1)});
  const std::string good = make_secret(machines.folder(0) + "/peer.key"),
                    bad = machines.folder(1) + "/peer.key";
  std::string words;
  SECTION("too short") {
    write_text(bad, "c2hvcnQ=\n");
    words = "it has 5 bytes and 32 are the least";
  }
  SECTION("readable by others") {
    write_text(bad, read_text(good));
    words = "may be read or written by everybody";
  }
  SECTION("not there") { words = "cannot open " + bad; }
  chmod(bad.c_str(), words.starts_with("it") ? 0600 : 0644);
  Machine one(machines, 0, peers_at(0, good, members)), two(machines, 1, peers_at(1, bad, members));
  check_told(two, words, "peers_closed");
  CHECK_THAT(two.command({"config", "--check"}),
             Catch::Contains("peers: nothing is shared: peers.secret_file: ") && Catch::Contains(words));
  CHECK(two.gets(image, 0));
  // What else a reload brings counts.
  two.reload(peers_at(1, bad, members) + "tags: {fresh_for: 7s}\n");
  CHECK(eventually([&] { return two.metric("layerd_config_loads_total{result=\"taken\"}") > 0; }));
  CHECK(two.metric("layerd_config_loads_total{result=\"refused\"}") == 0);
  CHECK(two.json("peers")["listen"] == "");
  write_text(bad, read_text(good));
  chmod(bad.c_str(), 0600);
  CHECK(eventually([&] { return two.json("peers")["complaints"].empty(); }));
  CHECK(two.json("peers")["listen"] == two.id());
  must_come_from_members(machines, one, two, image, 1);
}

// rules: peers-until-restart
TEST_CASE("members that are none, that disagree, that are ourselves are named, and the rest works",
          "[site][commands]") {
  const Image image = make_blobs(1, 34);
  Machines machines(image, 2, 400);
  const std::string secret = make_secret(machines.folder(0) + "/peer.key"),
                    list = machines.folder(1) + "/members";
  write_text(list, fmt::format("# by hand\n{} rack-2\nno member!\n", Machines::member(0)));
  Machine one(machines, 0, peers_at(0, secret, listed({Machines::member(0), Machines::member(1)})));
  {
    const auto inside = machines.net().inside(1);
    REQUIRE(run({"ip", "address", "add", "10.78.0.99/24", "dev", "eth0"}).status == 0);
  }
  Machine two(
      machines, 1,
      fmt::format(
          "peers: {{listen: '0.0.0.0:5152', site: lab, secret_file: {}, members_file: {}, {}}}\n", secret,
          list,
          listed({"10.78.0.300", Machines::member(0) + " rack-1", Machines::member(1), "10.78.0.99:5152"})));
  check_told(two, "line 3: ", "members");
  check_told(two, "is in zone rack-1 by peers.members and in zone rack-2 by peers.members_file", "members");
  check_told(two, " and " + two.id() + " are both this node", "members");
  check_told(two, "10.78.0.300", "config_warning");
  CHECK(ids(two) == std::vector<std::string>{one.id(), two.id()});
  must_come_from_members(machines, one, two, image, 0);
  // Until a restart the section that was taken out counts, its share rules before all.
  two.reload("");
  CHECK(eventually([&] { return two.log().find("event=reloaded") != std::string::npos; }));
  CHECK(two.json("peers")["site"] == "lab");
}
