// Every fault of an upstream, against one client, many followers and ranges: the bytes are right, or the
// answer is an error or a body that is visibly broken off. Never a complete wrong one, never a wrong byte
// kept.
#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kBlob = 3 * 1024 * 1024;
// A stall is noticed soon, so that the test does not wait for it.
const FlowSettings kImpatient{"timeouts: {stall: 2s}\n"};

enum class Expect {
  right,     // every client gets every byte
  unbroken,  // either that, or a visible break
  broken,    // no client gets a 2xx that is complete
  refused,   // every client gets an error, none a 2xx
};

// "rules" names what of tests/rules.txt is needed for each case: scripts/rules.py takes it out and sees the
// test fail.
struct Case {
  const char* name;
  Fault fault;
  Expect expect;
  double copies;     // upstream body bytes at most, in blobs
  int status = 0;    // of the refusal
  int requests = 0;  // GETs upstream at most for one client; 0: any number
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, Expect expect, double copies, auto change) {
    Fault fault;
    change(fault);
    all.push_back({name, fault, expect, copies});
    if (copies < 1.05) all.back().requests = 1;
  };
  const auto refuse = [&](const char* name, int status, double copies, auto change) {
    add(name, Expect::refused, copies, change);
    all.back().status = status;
    all.back().requests = 6;
  };
  // rules: one-download
  add("none", Expect::right, 1.02, [](Fault&) {});
  // rules: wait-for-source
  add("a slow head", Expect::right, 1.02, [](Fault& f) { f.head_delay = milliseconds(600); });
  // Longer on their way than a stall may last.
  // rules: slow-is-no-stall
  add("a dripping body", Expect::right, 1.02,
      [](Fault& f) { f.drip_bytes = 64 * 1024, f.drip_every = milliseconds(60); });
  // rules: slow-is-no-stall
  add("a throttled body", Expect::right, 1.02, [](Fault& f) { f.bytes_per_second = 1100 * 1024; });
  // rules: resume-by-range
  add("one cut", Expect::right, 1.1, [](Fault& f) { f.cut_after = 1000 * 1000, f.times = 1; });
  // rules: failure-not-final
  add("one reset", Expect::right, 1.4,
      [](Fault& f) { f.cut_after = 1000 * 1000, f.reset = true, f.times = 1; });
  // rules: progress-forgives
  add("a cut after each 700 kB", Expect::right, 1.1, [](Fault& f) { f.cut_after = 700 * 1000; });
  // rules: failure-not-final
  add("one cut at the first byte", Expect::right, 1.1, [](Fault& f) { f.cut_after = 0, f.times = 1; });
  // rules: unreachable-asked-again
  add("one refused request", Expect::right, 1.1, [](Fault& f) { f.refuse = true, f.times = 1; });
  // rules: stall
  add("one stall", Expect::right, 1.1, [](Fault& f) { f.stall_after = 1000 * 1000, f.times = 1; });
  // rules: one-download
  add("ranges ignored", Expect::right, 1.1, [](Fault& f) { f.ignore_range = true; });
  // rules: ignored-range
  add("ranges ignored after one cut", Expect::right, 2.1,
      [](Fault& f) { f.cut_after = 1000 * 1000, f.times = 1, f.later_ignores_range = true; });
  // rules: body-end-is-size
  add("no length", Expect::right, 1.1, [](Fault& f) { f.no_length = true; });
  // rules: chunk-framing
  add("chunked", Expect::right, 1.1, [](Fault& f) { f.chunked = true; });
  // rules: failure-told
  add("a length too long by 5000", Expect::unbroken, 20, [](Fault& f) { f.length_lie = 5000; });
  // rules: digest-compared
  add("a length too short by 5000", Expect::unbroken, 20, [](Fault& f) { f.length_lie = -5000; });
  // rules: digest-compared, held-tail
  add("wrong bytes", Expect::broken, 20, [](Fault& f) { f.wrong_bytes = true; });
  // rules: held-tail
  add("wrong bytes once", Expect::unbroken, 3.1, [](Fault& f) { f.wrong_bytes = true, f.times = 1; });
  // rules: html-refused
  refuse("HTML with 200", 502, 20, [](Fault& f) { f = html_page(); });
  // rules: retry-after
  add("one 429 with Retry-After", Expect::right, 1.1, [](Fault& f) {
    f.status = 429, f.times = 1, f.headers = {{"Retry-After", "1"}};
  });
  // rules: 5xx-asked-again
  add("one 503", Expect::right, 1.1, [](Fault& f) { f.status = 503, f.times = 1; });
  // rules: rounds-bounded
  refuse("503 always", 502, 0.1, [](Fault& f) { f.status = 503; });
  // rules: 404-is-404
  refuse("404", 404, 0.1, [](Fault& f) { f.status = 404; });
  // rules: refusal-is-denied
  // A client may say who it is, once (docs/access.md).
  refuse("403", 401, 0.1, [](Fault& f) { f.status = 403; });
  // rules: refusal-is-denied
  refuse("401 without a challenge", 401, 0.1, [](Fault& f) { f.status = 401; });
  // rules: redirects-bounded
  refuse("a redirect loop", 502, 0.1, [](Fault& f) {
    f.status = 307, f.headers = {{"Location", "/v2/team/app/blobs/round-and-round"}};
  });
  // rules: no-type-is-fine
  add("no Content-Type", Expect::right, 1.1, [](Fault& f) { f.no_content_type = true; });
  // rules: announced-digest
  refuse("a false Docker-Content-Digest", 502, 20,
         [](Fault& f) { f.digest_header = "sha256:" + std::string(64, 'a'); });
  return all;
}

void judge(const ProbeReply& reply, const std::string& right, Expect expect, std::size_t most = SIZE_MAX) {
  INFO("status " << reply.status << " " << reply.reason << ", " << reply.body.size() << " of " << right.size()
                 << " bytes, complete " << reply.complete << " reset " << reply.reset << " timed out "
                 << reply.timed_out);
  CHECK_FALSE(reply.timed_out);
  if (reply.status / 100 == 2) {
    // What went out before a break may be unverified, but no wrong body is ever whole.
    CHECK((!reply.complete || reply.body == right));
    CHECK_FALSE(reply.reset);
  } else {
    CHECK(reply.status >= 400);
    CHECK(reply.body.find("\"errors\"") != std::string::npos);
  }
  if (expect == Expect::right) CHECK(reply.body.substr(0, most) == right.substr(0, most));
  if (expect == Expect::broken) CHECK_FALSE((reply.status / 100 == 2 && reply.complete && !right.empty()));
  if (expect == Expect::refused) CHECK(reply.status / 100 != 2);
}

bool is_kept_back(Expect expect) { return expect == Expect::broken || expect == Expect::refused; }

void one_client(Flow& flow, const Case& fault, std::uint64_t seed) {
  const std::string bytes = random_bytes(kBlob, seed);
  const std::string digest = flow.upstream.add_blob(bytes);
  const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
  judge(reply, bytes, fault.expect);
  if (fault.status != 0) CHECK(reply.status == fault.status);
  if (fault.expect == Expect::right) CHECK(eventually([&] { return flow.layerd.has_blob(digest); }));
  if (is_kept_back(fault.expect)) CHECK_FALSE(flow.layerd.has_blob(digest));
  if (fault.requests != 0) CHECK(flow.upstream.count("GET", "/blobs/") <= fault.requests);
  CHECK(static_cast<double>(flow.upstream.body_bytes(digest)) <= fault.copies * kBlob);
}

void many_followers(Flow& flow, const Case& fault, std::uint64_t seed) {
  const std::string bytes = random_bytes(kBlob, seed);
  const std::string digest = flow.upstream.add_blob(bytes);
  std::vector<ProbeRequest> requests(8, ProbeRequest{flow.layerd.port(), Flow::blob(digest)});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].target = Flow::blob(digest, i % 2 == 0 ? "team/app" : "team/other");
    if (i == 7) requests[i].hang_up_after = 100 * 1000;
  }
  const auto replies = probe_together(requests);
  for (std::size_t i = 0; i < 7; ++i) judge(replies[i], bytes, fault.expect);
  CHECK(static_cast<double>(flow.upstream.body_bytes(digest)) <= fault.copies * kBlob);
}

// As containerd 2.1 and later: open-ended ranges, each hung up on after its part.
void ranges(Flow& flow, const Case& fault, std::uint64_t seed) {
  const std::string bytes = random_bytes(kBlob, seed);
  const std::string digest = flow.upstream.add_blob(bytes);
  constexpr std::size_t kPart = kBlob / 4;
  std::vector<ProbeRequest> requests;
  for (std::size_t i = 0; i < 4; ++i) {
    ProbeRequest request{
        flow.layerd.port(), Flow::blob(digest), {{"Range", fmt::format("bytes={}-", i * kPart)}}};
    if (i < 3) request.hang_up_after = kPart;
    requests.push_back(request);
  }
  requests.push_back({flow.layerd.port(), Flow::blob(digest), {{"Range", "bytes=-1000"}}});
  requests.push_back({flow.layerd.port(), Flow::blob(digest), {{"Range", "bytes=2000000-2000099"}}});
  const auto replies = probe_together(requests);
  for (std::size_t i = 0; i < 4; ++i) {
    if (fault.expect == Expect::right) CHECK(replies[i].status == 206);
    judge(replies[i], bytes.substr(i * kPart),
          fault.expect == Expect::right ? Expect::right : Expect::unbroken, i < 3 ? kPart : SIZE_MAX);
  }
  judge(replies[4], bytes.substr(kBlob - 1000),
        fault.expect == Expect::right ? Expect::right : Expect::unbroken);
  if (fault.expect == Expect::right) {
    CHECK(replies[5].body == bytes.substr(2000000, 100));
    CHECK(eventually([&] { return flow.layerd.has_blob(digest); }));
  }
  CHECK(static_cast<double>(flow.upstream.body_bytes(digest)) <= (fault.copies + 0.3) * kBlob);
}

}  // namespace

TEST_CASE("whatever an upstream does, bodies are right or visibly broken, and nothing wrong is kept",
          "[faults]") {
  const auto all = cases();
  std::uint64_t seed = 1;
  for (const auto& fault : all) {
    DYNAMIC_SECTION(fault.name << ", one client") {
      Flow flow(kImpatient);
      flow.upstream.fault("/blobs/", fault.fault);
      one_client(flow, fault, seed);
    }
    DYNAMIC_SECTION(fault.name << ", many followers") {
      Flow flow(kImpatient);
      flow.upstream.fault("/blobs/", fault.fault);
      many_followers(flow, fault, seed + 1);
    }
    DYNAMIC_SECTION(fault.name << ", ranges") {
      Flow flow(kImpatient);
      flow.upstream.fault("/blobs/", fault.fault);
      ranges(flow, fault, seed + 2);
    }
    seed += 3;
  }
}

// rules: wrong-bytes-thrown-away
TEST_CASE("after an upstream has come to its senses the same blob is served right", "[faults]") {
  Flow flow;
  const std::string bytes = random_bytes(kBlob, 500);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault fault;
  SECTION("wrong bytes") { fault.wrong_bytes = true; }
  SECTION("HTML") { fault = html_page(); }
  SECTION("503") { fault.status = 503; }
  SECTION("404") { fault.status = 404; }
  flow.upstream.fault("/blobs/", fault);
  judge(flow.layerd.get(Flow::blob(digest)), bytes, Expect::broken);
  flow.upstream.clear_faults();
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
}

// rules: first-byte
TEST_CASE("the first byte goes out while the upstream's body is still on its way", "[faults]") {
  Flow flow;
  const std::string bytes = random_bytes(2 * 1024 * 1024, 600);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 1024 * 1024;
  flow.upstream.fault("/blobs/", slow);
  const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
  CHECK(reply.body == bytes);
  CHECK(reply.total > milliseconds(1200));
  CHECK(reply.first_byte < milliseconds(600));
}

// rules: one-download
TEST_CASE("24 clients of one blob cost one copy of it", "[faults]") {
  Flow flow;
  const std::string bytes = random_bytes(8 * 1024 * 1024, 700);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 8 * 1024 * 1024;
  flow.upstream.fault("/blobs/", slow);
  const auto replies =
      probe_together(std::vector<ProbeRequest>(24, {flow.layerd.port(), Flow::blob(digest)}));
  for (const auto& reply : replies) CHECK(reply.body == bytes);
  CHECK(flow.upstream.body_bytes(digest) <= bytes.size() * 102 / 100);
}

// rules: extra-streams
TEST_CASE("an upstream that throttles each connection is asked for several ranges at once", "[faults]") {
  Flow flow;
  const std::string bytes = random_bytes(48 * 1024 * 1024, 800);
  const std::string digest = flow.upstream.add_blob(bytes);
  Fault slow;
  slow.bytes_per_second = 4 * 1024 * 1024;
  flow.upstream.fault("/blobs/", slow);
  const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
  CHECK(reply.body == bytes);
  CHECK(flow.upstream.most_at_once(digest) >= 3);
  CHECK(reply.total < std::chrono::seconds(8));  // 12 s by one connection
  CHECK(flow.upstream.body_bytes(digest) <= bytes.size() * 110 / 100);
}

// rules: next-endpoint
TEST_CASE("the next endpoint goes on where the first one broke off", "[faults]") {
  Flow flow;
  FaultyUpstream second;
  flow.layerd.stop();
  flow.layerd.configure(
      fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\", \"{}\"], default_endpoint: false}}}}",
                  flow.upstream.url(), second.url()));
  flow.layerd.start();
  const std::string bytes = random_bytes(kBlob, 900);
  const std::string digest = flow.upstream.add_blob(bytes);
  second.add_blob(bytes);
  Fault cut, gone;
  cut.cut_after = 1024 * 1024, cut.times = 1;
  gone.status = 503;
  flow.upstream.fault("/blobs/", cut);
  flow.upstream.on_request([&](const ServerRequest&) {
    if (flow.upstream.body_bytes(digest) > 0) flow.upstream.fault("/blobs/", gone);
  });
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  CHECK(flow.upstream.body_bytes(digest) + second.body_bytes(digest) <= kBlob * 110 / 100);
  CHECK(second.body_bytes(digest) > 0);
}

// rules: sha512
TEST_CASE("sha512 and an empty blob are served and kept like any other", "[faults]") {
  Flow flow;
  const std::string bytes = random_bytes(200 * 1000, 950);
  const std::string digest = flow.upstream.add_blob_sha512(bytes);
  const std::string empty = flow.upstream.add_blob("");
  CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  CHECK(eventually([&] { return flow.layerd.has_blob(digest); }));
  const ProbeReply nothing = flow.layerd.get(Flow::blob(empty));
  CHECK(nothing.status == 200);
  CHECK(nothing.complete);
  CHECK(nothing.header("content-length") == "0");
  Fault wrong;
  wrong.wrong_bytes = true;
  flow.upstream.fault("/blobs/", wrong);
  const std::string other = flow.upstream.add_blob_sha512(random_bytes(200 * 1000, 951));
  const ProbeReply refused = flow.layerd.get(Flow::blob(other));
  CHECK_FALSE((refused.status == 200 && refused.complete));
  CHECK_FALSE(flow.layerd.has_blob(other));
}
