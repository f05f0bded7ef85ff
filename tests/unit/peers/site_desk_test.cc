// What a node of a site gives, tells and is asked, with scripted members.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

TEST_CASE("what is given: slots, circles, what is not shared and what is not here") {
  SiteBench bench;
  const auto get = [&bench](int from, std::vector<std::string> path = {}) {
    UnitGet message{unit_name(), {0, 8_MiB}, std::move(path)};
    std::optional<Result<std::unique_ptr<Upload>>> answer;
    auto ticket = bench.site.on_get(node(from), message, [&answer](Result<std::unique_ptr<Upload>> upload) {
      answer = std::move(upload);
    });
    bench.loop.advance(1s);
    REQUIRE(answer);
    return *std::move(answer);
  };
  CHECK(get(2).error().code == Errc::not_found);
  bench.shelf.here = Shelf::Held{true, false, 100_MiB, 8_MiB};
  std::vector<std::unique_ptr<Upload>> uploads;
  for (int i = 2; i <= 4; ++i) {
    auto upload = get(i);
    REQUIRE(upload);
    CHECK((*upload)->total == 100_MiB);
    uploads.push_back(*std::move(upload));
  }
  CHECK(get(5).error().code == Errc::overloaded);
  CHECK_FALSE(bench.site.on_probe(node(5), Probe{unit_name()}).has_slot);
  CHECK(bench.site.on_probe(node(5), Probe{unit_name()}).load == 3);
  CHECK(bench.site.on_probe(node(5), Probe{unit_name(1)}).has_slot);
  uploads.pop_back();
  CHECK(get(5).ok());
  bench.is_shared = false;
  CHECK(get(5).error().code == Errc::denied);
  CHECK_FALSE(bench.site.on_probe(node(5), Probe{unit_name()}).complete);
  bench.is_shared = true;
  // We take the unit from node 3 ourselves now: it, and whom it is fed by, get nothing of it.
  everybody_answers(bench, from({node(3)}));
  bench.wire.paths[node(3)] = {node(7)};
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  UnitGet circle{unit_name(unit), {unit * kUnit, (unit + 1) * kUnit}, {node(7), node(6)}};
  std::optional<Errc> why;
  auto ticket = bench.site.on_get(node(6), circle, [&why](const Result<std::unique_ptr<Upload>>& upload) {
    if (!upload) why = upload.error().code;
  });
  bench.loop.advance(100ms);
  CHECK(why == Errc::not_found);
  CHECK(bench.site.on_probe(node(6), Probe{unit_name(unit)}).path ==
        std::vector<std::string>{node(3), node(7)});
}

TEST_CASE("a download that does not know its size yet lets a member wait for a while") {
  SiteBench bench;
  bench.shelf.here = Shelf::Held{false, true, std::nullopt, 0};
  std::optional<Errc> why;
  auto ticket = bench.site.on_get(node(2), {unit_name(), {0, 8_MiB}, {}},
                                  [&why](const Result<std::unique_ptr<Upload>>& upload) {
                                    if (!upload) why = upload.error().code;
                                  });
  bench.loop.advance(500ms);
  CHECK_FALSE(why);
  bench.loop.advance(200ms);
  CHECK(why == Errc::overloaded);
  CHECK(bench.site.snapshot().uploads == 0);
}

TEST_CASE("complete blobs are told to the first two ranks, when they come, and all of them in turn") {
  SiteBench bench(6);
  bench.wire.on_probe = nullptr;
  for (int i = 0; i < 300; ++i) bench.shelf.all.push_back(digest("blob " + std::to_string(i)));
  std::sort(bench.shelf.all.begin(), bench.shelf.all.end());
  bench.list(6);
  bench.loop.advance(40s);
  std::size_t told = 0, firsts = 0;
  std::map<std::string, std::size_t> letters;
  for (const auto& [to, tell] : bench.wire.tells) {
    REQUIRE(tell.have);
    told += tell.have->blobs.size();
    firsts += tell.have->is_all;
    CHECK(tell.have->is_all == (letters[to]++ == 0));
  }
  const auto ours = bench.site.snapshot().records;  // we keep some ourselves
  CHECK(told + ours == 600);
  CHECK(firsts == 5);
  bench.wire.tells.clear();
  bench.site.stored(digest("new"));
  bench.site.removed(digest("old"));
  bench.loop.advance(2s);
  std::size_t changes = 0;
  for (const auto& [to, tell] : bench.wire.tells) changes += tell.have->blobs.size() + tell.have->gone.size();
  CHECK(changes >= 2);
  CHECK(changes <= 4);
}

// rules: recall-needs-share
TEST_CASE("of what is not shared no name leaves the node, however little upstream says") {
  SiteBench bench;
  bench.wire.on_recall = [](const std::string&, const Recall&) -> Result<RecallAnswer> {
    RecallAnswer answer;
    answer.known = true;
    return answer;
  };
  bench.is_shared = false;
  std::optional<Result<std::vector<Recalled>>> known;
  auto asking = bench.site.recall({"docker.io", "library/nginx", "1.27"},
                                  [&known](auto answer) { known.emplace(std::move(answer)); });
  std::optional<Result<UnitAnswer>> got;
  auto getting = bench.site.get(node(2), kBlob, 12, [&got](auto answer) { got.emplace(std::move(answer)); });
  bench.loop.advance(3s);
  REQUIRE(known);
  CHECK((*known)->empty());
  REQUIRE(got);
  CHECK(got->error().code == Errc::denied);
  CHECK(bench.wire.log.empty());
}

TEST_CASE("a small blob is got of the member that is named, and of none that is avoided") {
  SiteBench bench;
  bench.wire.on_get = [](const std::string&, const UnitGet&) { return std::optional<Error>(); };
  bench.wire.total = 12;
  const auto get = [&bench](ByteCount size) {
    std::optional<Result<UnitAnswer>> got;
    auto getting =
        bench.site.get(node(2), kBlob, size, [&got](auto answer) { got.emplace(std::move(answer)); });
    bench.loop.advance(3s);
    REQUIRE(got);
    return got->ok() ? std::optional<Errc>() : got->error().code;
  };
  CHECK_FALSE(get(12));
  CHECK(bench.wire.gets.back().second.range.size() == 12);
  CHECK(get(0) == Errc::invalid_request);
  CHECK(get(kUnit + 1) == Errc::invalid_request);
  bench.site.avoid(node(2), "it sent another manifest than it named");
  CHECK(get(12) == Errc::upstream_unreachable);
  CHECK(bench.wire.gets.size() == 1);
}

TEST_CASE("what members know of a name is gathered from those who know it") {
  SiteBench bench(30);
  bench.wire.on_recall = [](const std::string& to, const Recall&) -> Result<RecallAnswer> {
    RecallAnswer answer;
    answer.known = to == node(7) || to == node(8);
    answer.digest = digest(to);
    if (to == node(9)) return ScriptedWire::nobody();
    return answer;
  };
  bench.wire.delays[node(8)] = 5s;
  std::optional<std::vector<Recalled>> known;
  auto ticket =
      bench.site.recall({"docker.io", "library/nginx", "1.27"},
                        [&known](Result<std::vector<Recalled>> answer) { known = *std::move(answer); });
  bench.loop.advance(1400ms);
  CHECK_FALSE(known);
  bench.loop.advance(200ms);
  REQUIRE(known);
  REQUIRE(known->size() == 1);
  CHECK(known->front().member == node(7));
}

// rules: silent-are-recalled-last
TEST_CASE("where nobody who answers knows a name those are asked that fell silent") {
  SiteBench bench(4);
  bool is_there = false;
  bench.wire.on_recall = [&](const std::string& to, const Recall&) -> Result<RecallAnswer> {
    if (to != node(3)) return RecallAnswer{};
    if (!is_there) return ScriptedWire::nobody();
    RecallAnswer answer;
    answer.known = true;
    answer.digest = digest("manifest");
    return answer;
  };
  std::optional<std::vector<Recalled>> known;
  const auto recall = [&] {
    known.reset();
    auto ticket =
        bench.site.recall({"docker.io", "library/nginx", "1.27"},
                          [&known](Result<std::vector<Recalled>> answer) { known = *std::move(answer); });
    bench.loop.advance(2s);
    return known && !known->empty();
  };
  CHECK_FALSE(recall());
  for (const auto& row : bench.site.snapshot().members) CHECK(row.is_dead == (row.id == node(3)));
  is_there = true;  // and is left alone yet
  CHECK(recall());
  for (const auto& row : bench.site.snapshot().members) CHECK_FALSE(row.is_dead);
  CHECK(bench.wire.count("recall " + node(2)) == 2);
}

// rules: one-open-end
TEST_CASE("a whole blob of unknown size is asked for in words that a giver takes") {
  SiteBench bench;
  bench.wire.on_ask = [](const std::string&, const Ask&) -> Result<AskAnswer> {
    AskAnswer answer;
    answer.kind = AskAnswer::Kind::from;
    answer.sources = {node(2)};
    answer.whole = true;
    return answer;
  };
  bench.wire.on_get = [](const std::string&, const UnitGet&) { return std::optional<Error>(); };
  auto share = bench.begin();
  share->whole_only();
  std::optional<Result<UnitSource>> source;
  auto finding = share->find(0, {0, ~ByteCount{0}},
                             [&source](Result<UnitSource> found) { source.emplace(std::move(found)); });
  bench.loop.advance(2s);
  REQUIRE(source);
  REQUIRE(source->ok());
  CHECK((*source)->from == UnitSource::From::member);
  CHECK((*source)->range == ByteRange{0, bench.wire.total});
  REQUIRE_FALSE(bench.wire.gets.empty());
  // The same words at the real other end.
  SiteBench giver;
  giver.shelf.here = Shelf::Held{true, false, 100_MiB, 100_MiB};
  std::optional<Result<std::unique_ptr<Upload>>> upload;
  auto opening = giver.site.on_get(node(1), bench.wire.gets.back().second,
                                   [&upload](auto answer) { upload.emplace(std::move(answer)); });
  giver.loop.advance(1s);
  REQUIRE(upload);
  INFO((upload->ok() ? std::string() : upload->error().message));
  REQUIRE(upload->ok());
  CHECK((**upload)->total == 100_MiB);
}
