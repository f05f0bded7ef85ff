// A site whose WAN is cut: what one of its nodes has the others can have, whole images by tag and by digest.
#include "tests/site/site.h"

using namespace layerd::test;

namespace {

std::string by_digest(const Image& image) { return "registry.test/team/app@" + image.top; }

// containerd forgets the image, so that its next pull asks for all of it again.
void forget(Site& site, std::size_t node, const std::string& reference) {
  CHECK(site.containerd(node).remove(reference).status == 0);
}

}  // namespace

// rules: keepers-among-the-living
TEST_CASE("an image that a node pulled before reaches the others with the WAN cut", "[site][dark]") {
  const Image image = make_app(20, 9u << 20);
  Site site(image);
  site.start_all();
  site.must_pull({2}, image);
  site.machines().plug_wan(false);

  site.must_pull({0}, image);                    // by its tag
  site.must_pull({1}, image, by_digest(image));  // and by its digest
  // Only who pulled it at first is left, and has been started anew since.
  site.stop(0);
  site.stop(1);
  site.stop(2);
  site.start_again(2);
  site.must_pull({3}, image);
  site.take_away(3);
  site.start(3, site.secret());
  site.must_pull({3}, image, by_digest(image));
  CHECK(site.metric(3, "layerd_peers_received_bytes_total") >= static_cast<double>(image.blob_bytes()));
  // What it has now it has by itself.
  forget(site, 3, by_digest(image));
  site.stop(2);
  site.must_pull({3}, image, by_digest(image));
}

TEST_CASE("a node that was replaced in the dark can run what the site has", "[site][long][dark]") {
  const Image before = make_app(21, 1u << 20), after = make_app(22, 9u << 20);
  Site site(before);
  site.start_all();
  site.must_pull({0}, before);
  site.machines().publish(after);
  site.must_pull({1, 3}, after);
  site.machines().plug_wan(false);
  site.take_away(3);
  site.start(3, site.secret());

  // Two members know the tag: what upstream said last counts, not what was asked for first.
  site.must_pull({3}, after);
  const std::string log = site.layerd(3).log();
  INFO(log);
  CHECK_THAT(log, Catch::Contains("event=recalled ref=registry.test/team/app:1 digest=" + after.top +
                                  " member=" + Machines::member(1)));
  {
    const auto inside = site.machines().net().inside(3);
    const ProbeReply told = site.layerd(3).head("/v2/team/app/manifests/1?ns=registry.test");
    CHECK(told.status == 200);
    CHECK(told.header("layerd-source") == "stale");
    CHECK(told.header("docker-content-digest") == after.top);
  }
  // Node 0 has a record of its own, and keeps to it.
  forget(site, 0, kReference);
  site.must_pull({0}, before);

  site.take_away(3);
  site.start(3, site.secret(), "tags: {from_peers: never}\n");
  CHECK(site.pull({3}).front().status != 0);
  site.must_pull({3}, after, by_digest(after));
}
