// kill -9, full disks, damaged files: after each, every byte served is right.
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMiB = 1024 * 1024;

// A file system of its own with so little room that it fills up.
class SmallDisk {
 public:
  SmallDisk(std::string path, const std::string& size) : path_(std::move(path)) {
    fs::create_directories(path_);
    REQUIRE(mount("tmpfs", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0);
  }
  ~SmallDisk() { umount2(path_.c_str(), MNT_DETACH); }

 private:
  std::string path_;
};

void overwrite(const std::string& path, std::streamoff at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(at);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Every file of the index, wherever below the store it lies.
std::vector<fs::path> index_files(const std::string& cache) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(cache)) {
    if (entry.path().extension() == ".mdb" || entry.path().filename() == "index")
      found.push_back(entry.path());
  }
  return found;
}

}  // namespace

// rules: partial-resumed
TEST_CASE("kill -9 at random points loses at most 4 MiB each time", "[crash]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Flow flow;
  const std::string bytes = random_bytes(40 * kMiB, 11);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 32 * kMiB;
  flow.upstream.fault("/blobs/", slow);
  constexpr int kKills = 4;
  double received = 0;
  for (int i = 0; i < kKills; ++i) {
    std::thread client([&] { (void)flow.layerd.get(Flow::blob(digest)); });
    std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution<int>(30, 700)(random)));
    received += flow.layerd.metric("layerd_upstream_bytes_total");
    flow.layerd.kill();
    client.join();
    CHECK(flow.layerd.wrong_blobs().empty());
    flow.layerd.start();
  }
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  received += flow.layerd.metric("layerd_upstream_bytes_total");
  CHECK(received <= static_cast<double>(bytes.size() + kKills * 4 * kMiB));
  CHECK(eventually([&] { return flow.layerd.has_blob(digest); }));
}

// rules: ranges-recorded, partial-resumed
TEST_CASE("after kill -9 the download goes on where it was", "[crash]") {
  Flow flow;
  const std::string bytes = random_bytes(30 * kMiB, 12);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault stall;
  stall.stall_after = 20 * kMiB, stall.times = 1;
  flow.upstream.fault("/blobs/", stall);
  std::thread client([&] { (void)flow.layerd.get(Flow::blob(digest)); });
  CHECK(eventually([&] { return flow.layerd.metric("layerd_upstream_bytes_total") >= 20.0 * kMiB; }));
  std::this_thread::sleep_for(milliseconds(200));
  flow.layerd.kill();
  client.join();
  flow.upstream.clear_faults();
  flow.upstream.forget();
  flow.layerd.start();
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  CHECK(flow.upstream.body_bytes(digest) <= 14 * kMiB);
}

// rules: no-room-passes-through, failed-write-passes-through
TEST_CASE("a full disk never fails a pull", "[crash]") {
  TempDir place("layerd-disk");
  SmallDisk disk(place / "disk", "24m");
  Flow flow({"", place / "disk/cache", "1GiB"});
  const std::string small = random_bytes(4 * kMiB, 20), big = random_bytes(40 * kMiB, 21);
  const std::string small_digest = flow.upstream.add_blob(small), big_digest = flow.upstream.add_blob(big);
  CHECK(flow.layerd.get(Flow::blob(small_digest)).body == small);
  SECTION("one client of a blob larger than the disk") {
    CHECK(flow.layerd.get(Flow::blob(big_digest)).body == big);
  }
  SECTION("four clients of it") {
    const auto replies =
        probe_together(std::vector<ProbeRequest>(4, {flow.layerd.port(), Flow::blob(big_digest)}));
    for (const auto& reply : replies) CHECK(reply.body == big);
  }
  SECTION("somebody else fills the disk meanwhile") {
    Fault slow;
    slow.bytes_per_second = 4 * kMiB;
    flow.upstream.fault("/blobs/", slow);
    const std::string blob = random_bytes(12 * kMiB, 22);
    const std::string digest = flow.upstream.add_blob(blob);
    std::thread filler([&] {
      std::this_thread::sleep_for(milliseconds(300));
      std::ofstream(place / "disk/filler") << random_bytes(30 * kMiB, 1);
    });
    CHECK(flow.layerd.get(Flow::blob(digest)).body == blob);
    filler.join();
    fs::remove(place / "disk/filler");
  }
  CHECK(flow.layerd.get(Flow::blob(small_digest)).body == small);
  CHECK(flow.layerd.stop() == 0);
  CHECK(flow.layerd.wrong_blobs().empty());
}

// rules: size-limit
TEST_CASE("the size limit holds and the oldest blobs go first", "[crash]") {
  Flow flow({"", "", "20MiB"});
  std::vector<std::string> digests;
  for (std::uint64_t i = 0; i < 8; ++i) {
    digests.push_back(flow.upstream.add_blob(random_bytes(5 * kMiB, 30 + i)));
    CHECK(flow.layerd.get(Flow::blob(digests.back())).complete);
    CHECK(eventually([&] { return flow.layerd.has_blob(digests.back()); }));
  }
  const auto kept = [&] {
    return std::count_if(digests.begin(), digests.end(),
                         [&](const auto& digest) { return flow.layerd.has_blob(digest); });
  };
  CHECK(eventually([&] { return kept() <= 4; }));
  CHECK(flow.layerd.has_blob(digests.back()));
  CHECK_FALSE(flow.layerd.has_blob(digests.front()));
}

// rules: journal
TEST_CASE("a missing or damaged index costs nothing that the files can tell", "[crash]") {
  Flow flow;
  const Image image = make_image({{300 * 1000, 20 * 1000}});
  flow.upstream.add(image, "team/app", "1");
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  CHECK(flow.layerd.get(Flow::manifest(image.top)).status == 200);
  for (const auto& [digest, bytes] : image.blobs) CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  for (const auto& [digest, bytes] : image.blobs)
    CHECK(eventually([&, d = digest] { return flow.layerd.has_blob(d); }));
  CHECK(eventually([&] { return flow.layerd.has_blob(image.top); }));
  // Records are gathered for 100 ms before they go to the journal; on a busy disk that takes longer.
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  SECTION("removed after an orderly end") {
    CHECK(flow.layerd.stop() == 0);
    const auto files = index_files(flow.layerd.cache_path());
    REQUIRE_FALSE(files.empty());
    for (const auto& file : files) fs::remove_all(file);
  }
  SECTION("damaged in the middle after kill -9") {
    flow.layerd.kill();
    const auto files = index_files(flow.layerd.cache_path());
    REQUIRE_FALSE(files.empty());
    for (const auto& file : files) {
      if (fs::is_regular_file(file) && fs::file_size(file) > 16384)
        overwrite(file, 8192, random_bytes(8192, 40));
    }
  }
  SECTION("its first pages overwritten") {
    CHECK(flow.layerd.stop() == 0);
    for (const auto& file : index_files(flow.layerd.cache_path())) {
      if (fs::is_regular_file(file)) overwrite(file, 0, random_bytes(8192, 41));
    }
  }
  flow.layerd.start();
  flow.upstream.server().go_away();
  for (const auto& [digest, bytes] : image.blobs) {
    const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
    INFO(digest << " " << reply.status << " " << reply.reason);
    CHECK(reply.body == bytes);
  }
  const ProbeReply manifest = flow.layerd.get(Flow::manifest("1"));
  INFO(flow.layerd.log());
  CHECK(manifest.body == image.manifests.at(image.top).second);
}

// rules: changed-file-noticed
TEST_CASE("a stored file that was changed behind our back is not served", "[crash]") {
  Flow flow;
  const std::string bytes = random_bytes(2 * kMiB, 50);
  const std::string digest = flow.upstream.add_blob(bytes);
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  REQUIRE(eventually([&] { return flow.layerd.has_blob(digest); }));
  std::this_thread::sleep_for(milliseconds(50));
  SECTION("other bytes") {
    fs::permissions(flow.layerd.blob_file(digest), fs::perms::owner_all);
    overwrite(flow.layerd.blob_file(digest), 1000, "changed");
  }
  SECTION("cut short") { fs::resize_file(flow.layerd.blob_file(digest), 1000); }
  SECTION("removed") { fs::remove(flow.layerd.blob_file(digest)); }
  const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
  CHECK((!reply.complete || reply.status >= 400 || reply.body == bytes));
  CHECK(eventually([&] { return flow.layerd.get(Flow::blob(digest)).body == bytes; }));
}
