// DiskStore after bad ends: killed, without power, index or journal damaged, a full file system.
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

// In a child: fills `text` in pieces and tells through the pipe how much is present.
[[noreturn]] void fill_until_killed(const std::string& path, const std::string& text, int pipe) {
  StoreFixture f(path);
  f.open();
  const auto partial = f.begin(digest_of(DigestAlgorithm::sha256, text));
  partial->set_size(text.size());
  for (ByteCount at = 0; at < text.size(); at += 256_KiB) {
    if (!f.write(*partial, at, ByteView(text).substr(at, 256_KiB)).ok()) ::_exit(1);
    const ByteCount present = partial->present().total();
    if (::write(pipe, &present, sizeof present) != sizeof present) ::_exit(1);
  }
  while (true) ::pause();
}

void fill_with_records(Catalog& catalog) {
  const auto digest = digest_of(DigestAlgorithm::sha256, "manifest");
  catalog.put_tag("docker.io/library/alpine", "3.18", {digest, "application/x", 8, 77});
  catalog.put_manifest(digest, {"application/x", 8});
  catalog.put_links("docker.io/library/alpine", {{digest, LinkKind::manifest, 8, "application/x"}});
  catalog.put_repository("docker.io/library/alpine", {RepositoryClass::open, 78});
  catalog.put_grant("somebody", "may");
  catalog.put_tag(std::string(700, 'r'), "long", {digest, "application/x", 8, 79});
}

void check_records(const Catalog& catalog) {
  const auto digest = digest_of(DigestAlgorithm::sha256, "manifest");
  const auto tag = catalog.tag("docker.io/library/alpine", "3.18");
  REQUIRE(tag.has_value());
  CHECK(tag->digest == digest);
  CHECK(tag->checked_at == 77);
  REQUIRE(catalog.manifest(digest).has_value());
  CHECK(catalog.manifest(digest)->media_type == "application/x");
  REQUIRE(catalog.link("docker.io/library/alpine", digest).has_value());
  CHECK(catalog.link("docker.io/library/alpine", digest)->kind == LinkKind::manifest);
  CHECK_FALSE(catalog.link("docker.io/library/other", digest).has_value());
  REQUIRE(catalog.repository("docker.io/library/alpine").has_value());
  CHECK(catalog.repository("docker.io/library/alpine")->repository_class == RepositoryClass::open);
  CHECK(catalog.grant("somebody") == std::optional<std::string>("may"));
  CHECK(catalog.tag(std::string(700, 'r'), "long").has_value());
  int tags = 0;
  catalog.each_tag([&](const RepositoryKey&, std::string_view, const TagRecord&) { return ++tags > 0; });
  CHECK(tags == 2);
}

}  // namespace

// rules: ranges-recorded
TEST_CASE("kill -9 in the middle of a download loses at most 4 MiB and it ends byte-exact") {
  const auto text = random_text(12 << 20, 30);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  for (const ByteCount kill_at : {700_KiB, 5_MiB, 11_MiB}) {
    TempDir folder;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) fill_until_killed(folder / "cache", text, ends[1]);
    ::close(ends[1]);
    ByteCount present = 0;
    while (present < kill_at && ::read(ends[0], &present, sizeof present) == sizeof present) {
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ends[0]);
    REQUIRE(present >= kill_at);
    StoreFixture f(folder / "cache");
    f.open();
    auto partial = f.begin(digest);
    CHECK(partial->present().total() + 4_MiB >= present);
    if (present > 4_MiB) CHECK(partial->present().total() > 0);
    REQUIRE(f.fill(std::move(partial), text).ok());
    CHECK(f.content(digest) == text);
  }
}

// rules: unsynced-untrusted
TEST_CASE("after a power loss only what was synced is trusted and the rest is fetched again") {
  StoreFixture f;
  f.open();
  const auto text = random_text(40 << 20, 31);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  {
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    // The last one first, so that the file keeps its length.
    REQUIRE(f.write(*partial, 39_MiB, ByteView(text).substr(39_MiB)).ok());
    for (ByteCount at = 0; at < 38_MiB; at += 1_MiB)
      REQUIRE(f.write(*partial, at, ByteView(text).substr(at, 1_MiB)).ok());
    f.flush();  // the sync of the first 32 MiB ends meanwhile
  }
  f.crash();
  SECTION("with its record") { f.files->lose_power(); }
  SECTION("but not its record") { f.files->lose_power(".ranges"); }
  f.open();
  auto partial = f.begin(digest);
  CHECK(partial->present().total() >= 32_MiB);
  CHECK(partial->present().total() < 39_MiB);
  REQUIRE(f.fill(std::move(partial), text).ok());
  CHECK(f.content(digest) == text);
  CHECK(f.count("layerd_digest_mismatch_total") == 0);
}

// rules: commit-synced
TEST_CASE("a committed blob survives a power loss") {
  StoreFixture f;
  f.open();
  const auto text = random_text(2 << 20, 32);
  const auto digest = f.add(text);
  f.crash();
  f.files->lose_power();
  f.open();
  CHECK(f.content(digest) == text);
}

// rules: journal
TEST_CASE("records of the catalog survive a crash, and the loss of the index") {
  StoreFixture f;
  f.open();
  fill_with_records(f.store->catalog());
  check_records(f.store->catalog());  // seen at once
  const auto digest = f.add("a pinned blob");
  REQUIRE(f.wait<Ok>([&](Done<Ok> done) { return f.store->pin(digest, true, std::move(done)); }).ok());
  f.crash();
  f.open();
  CHECK(f.count("layerd_cache_index_rebuilds_total") == 0);
  check_records(f.store->catalog());
  f.store->catalog().put_grant("other", "may");
  f.store->catalog().remove_grant("other");
  f.close();
  std::filesystem::remove_all(f.settings.path + "/index");
  f.open();
  CHECK(f.count("layerd_cache_index_rebuilds_total") == 1);
  check_records(f.store->catalog());
  CHECK_FALSE(f.store->catalog().grant("other").has_value());
  REQUIRE(f.run_until([&] { return !f.store->is_rebuilding(); }));
  CHECK(f.store->stats().blobs == 1);
  CHECK(f.store->list(std::nullopt, 1).at(0).pinned);
  CHECK(f.content(digest) == "a pinned blob");
}

// rules: index-looked-through
TEST_CASE("an index with random bytes written over never harms: it is used whole or rebuilt") {
  StoreFixture f;
  f.open();
  fill_with_records(f.store->catalog());
  std::vector<Digest> blobs;
  for (int i = 0; i < 12; ++i) {
    const auto text = "blob number " + std::to_string(i);
    blobs.push_back(digest_of(DigestAlgorithm::sha256, text));
    REQUIRE(f.wait<Ok>([&](Done<Ok> done) {
               return f.store->put(blobs.back(), Bytes::copy_of(text), std::move(done));
             }).ok());
  }
  f.close();
  const auto good = *f.folder / "good";
  std::filesystem::copy(f.settings.path, good, std::filesystem::copy_options::recursive);
  int rebuilt = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    INFO("seed " << seed);
    std::filesystem::remove_all(f.settings.path);
    std::filesystem::copy(good, f.settings.path, std::filesystem::copy_options::recursive);
    std::mt19937_64 random(seed);
    const auto data = f.settings.path + "/index/data.mdb";
    const auto size = std::filesystem::file_size(data);
    for (int i = 0; i < 4; ++i)
      overwrite(data, random() % (size - 64), random_text(1 + random() % 64, random()));
    const auto before = f.count("layerd_cache_index_rebuilds_total");
    f.open();
    rebuilt += f.count("layerd_cache_index_rebuilds_total") > before;
    check_records(f.store->catalog());
    for (std::size_t i = 0; i < blobs.size(); ++i)
      CHECK(f.content(blobs[i]) == "blob number " + std::to_string(i));
    f.store->catalog().put_grant("after", "it");
    f.close();
  }
  CHECK(rebuilt > 3);
}

TEST_CASE("a torn journal costs its last record only") {
  StoreFixture f;
  f.open();
  fill_with_records(f.store->catalog());
  f.close();
  f.open();
  f.store->catalog().put_grant("last", "one");
  f.close();
  const auto journal = f.settings.path + "/journal";
  std::filesystem::resize_file(journal, std::filesystem::file_size(journal) - 2);
  std::filesystem::remove_all(f.settings.path + "/index");
  f.open();
  check_records(f.store->catalog());
  CHECK_FALSE(f.store->catalog().grant("last").has_value());
}

TEST_CASE("a small file system that fills up gives no_space, and what was kept stays right") {
  TempDir folder;
  const auto mounted = folder / "small";
  std::filesystem::create_directory(mounted);
  if (::mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=6m") != 0)
    FAIL("cannot mount a tmpfs (" << std::strerror(errno) << "); this test needs root: it counts as skipped");
  {
    StoreFixture f(mounted + "/cache");
    f.open();
    const auto kept = f.add("kept");
    const auto text = random_text(16 << 20, 33);
    const auto digest = digest_of(DigestAlgorithm::sha256, text);
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    Result<Ok> written = Ok{};
    ByteCount at = 0;
    for (; written && at < text.size(); at += 256_KiB)
      written = f.write(*partial, at, ByteView(text).substr(at, 256_KiB));
    REQUIRE_FALSE(written.ok());
    CHECK(written.error().code == Errc::no_space);
    CHECK(partial->present().total() + 256_KiB <= at);
    CHECK(f.content(kept) == "kept");
    CHECK(f.count("layerd_disk_errors_total") >= 1);
    partial->discard();
    partial.reset();
    CHECK(f.content(f.add("after it")) == "after it");
  }
  CHECK(::umount(mounted.c_str()) == 0);
}
