// Messages between members: there and back, and what a hostile member may write instead.
#include "proxy/peers/messages.h"

#include "proxy/peers/message_fields.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

Digest digest(std::string_view of) { return digest_of(DigestAlgorithm::sha256, of); }

UnitName unit_name(std::uint32_t unit = 7) {
  return {{"docker.io", "library/nginx", digest("layer")}, unit, false};
}

std::string ask_with(std::string_view more) {
  return R"({"registry":"docker.io","repository":"library/nginx","digest":")" + digest("layer").str() +
         "\"," + std::string(more) + "}";
}

// Written, read and written again: the same text.
template <class Message, class Parse>
Message there_and_back(const Message& message, Parse parse) {
  const auto text = text_of(message);
  CHECK(text.size() <= kMostMessage);
  auto read = parse(text);
  REQUIRE(read.ok());
  CHECK(text_of(*read) == text);
  return *std::move(read);
}

bool names(const Error& error, std::string_view field) {
  return error.code == Errc::upstream_protocol && error.message.find(field) != std::string::npos;
}

}  // namespace

TEST_CASE("an ask comes back as it was written") {
  const Ask ask{unit_name(),        123, 4,    "rack-1",         Rights::client, {"10.0.0.1:5152"},
                {"[fd00::1]:5152"}, 2,   true, {"10.0.0.3:5152"}};
  const auto back = there_and_back(ask, parse_ask);
  CHECK(back.unit.blob.key() == "docker.io/library/nginx");
  CHECK(back.unit.unit == 7);
  CHECK(back.have == 123);
  CHECK(back.load == 4);
  CHECK(back.zone == "rack-1");
  CHECK(back.rights == Rights::client);
  CHECK(back.avoid == ask.avoid);
  CHECK(back.dead == ask.dead);
  CHECK(back.hops == 2);
  CHECK(back.needs_claim);
  CHECK(back.about == ask.about);
}

TEST_CASE("every answer to an ask comes back as it was written") {
  AskAnswer fetch{AskAnswer::Kind::fetch, 10s, {}, {}, {}, true, {}, false};
  CHECK(there_and_back(fetch, parse_ask_answer).lease == 10s);
  CHECK(there_and_back(fetch, parse_ask_answer).whole);
  AskAnswer from{
      AskAnswer::Kind::from, {}, {"10.0.0.1:1", "10.0.0.2:2"}, {}, {}, false, digest("u"), true, "10.0.0.5:5",
      {"10.0.0.4:4"}};
  CHECK(there_and_back(from, parse_ask_answer).sources == from.sources);
  CHECK(there_and_back(from, parse_ask_answer).claim == digest("u"));
  CHECK(there_and_back(from, parse_ask_answer).is_proved);
  CHECK(there_and_back(from, parse_ask_answer).agree == from.agree);
  CHECK(there_and_back(from, parse_ask_answer).claimed_by == "10.0.0.5:5");
  AskAnswer redirect{AskAnswer::Kind::redirect, {}, {}, "10.0.0.3:3", {}, false, {}, false};
  CHECK(there_and_back(redirect, parse_ask_answer).member == "10.0.0.3:3");
  AskAnswer busy{AskAnswer::Kind::busy, {}, {}, {}, 250ms, false, {}, false};
  CHECK(there_and_back(busy, parse_ask_answer).wait == 250ms);
}

TEST_CASE("probes, tells, records and recalls come back as they were written") {
  CHECK(there_and_back(Probe{unit_name()}, parse_probe).unit.unit == 7);
  const auto probed =
      there_and_back(ProbeAnswer{3, true, 500, true, {"10.0.0.9:5152"}, 1'000'000}, parse_probe_answer);
  CHECK(probed.has_slot);
  CHECK(probed.path.size() == 1);
  CHECK(probed.rate == 1'000'000);
  Tell tell;
  tell.done.push_back({unit_name(1), digest("a"), true});
  tell.alive.push_back({unit_name(2), 4096});
  tell.gave_up.push_back({unit_name(3), true});
  tell.taken.push_back({unit_name(4)});
  tell.have = Tell::Have{{digest("x")}, {digest("y")}, true};
  const auto told = there_and_back(tell, parse_tell);
  CHECK(told.done.at(0).from_upstream);
  CHECK(told.done.at(0).sha256 == digest("a"));
  CHECK(told.alive.at(0).have == 4096);
  CHECK(told.gave_up.at(0).whole_only);
  CHECK(told.taken.at(0).unit.unit == 4);
  CHECK(told.have->is_all);
  CHECK(told.have->gone == tell.have->gone);
  CHECK(there_and_back(Tell{}, parse_tell).empty());
  CHECK(there_and_back(Who{unit_name().blob}, parse_who).blob.digest == digest("layer"));
  const auto who = there_and_back(WhoAnswer{{"10.0.0.1:1"}, 9, {digest("a"), digest("b")}}, parse_who_answer);
  CHECK(who.units.size() == 2);
  CHECK(who.units[1] == digest("b"));
  CHECK(there_and_back(Recall{"docker.io", "library/nginx", "1.27"}, parse_recall).reference == "1.27");
  const auto recalled =
      there_and_back(RecallAnswer{true, digest("m"), "application/json", 12, 1'700'000'000, Rights::node},
                     parse_recall_answer);
  CHECK(recalled.digest == digest("m"));
  CHECK(recalled.checked_at == 1'700'000'000);
  CHECK_FALSE(there_and_back(RecallAnswer{}, parse_recall_answer).known);
}

TEST_CASE("the fullest messages fit into what is read") {
  Tell tell;
  const UnitName longest{{std::string(60, 'r') + "." + std::string(60, 'r'), std::string(255, 'p'),
                          digest_of(DigestAlgorithm::sha512, "x")},
                         kMostUnit,
                         false};
  for (std::size_t i = 0; i < kMostTold; ++i) tell.done.push_back({longest, digest("a"), true});
  CHECK(text_of(tell).size() <= kMostMessage);
  CHECK(parse_tell(text_of(tell)).ok());
  WhoAnswer who{
      std::vector<std::string>(kMostHolders, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"), 1, {}};
  who.units.assign(kMostProofs, digest("u"));
  CHECK(parse_who_answer(text_of(who))->units.size() == kMostProofs);
  who.units.push_back(digest("one more"));
  CHECK(parse_who_answer(text_of(who))->units.empty());
  Tell records;
  records.have = Tell::Have{std::vector<Digest>(kMostHave, digest("h")), {}, true};
  CHECK(parse_tell(text_of(records)).ok());
}

TEST_CASE("who is named by anything but a numeric address and port is refused") {
  for (const auto* id :
       {"", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "node-1:5152", "10.0.0.01:5152", "fd00::1:5152",
        "[fd00:0::1]:5152", "10.0.0.1:05152", "10.0.0.1:5152 ", "[::1%lo]:1"})
    CHECK_FALSE(is_member_id(id));
  CHECK(is_member_id("10.0.0.1:5152"));
  CHECK(is_member_id("[fd00::1]:5152"));
  const auto refused = parse_ask(ask_with(R"("unit":0,"avoid":["evil.example:1"])"));
  REQUIRE_FALSE(refused.ok());
  CHECK(names(refused.error(), "avoid"));
}

TEST_CASE("what does not fit is refused and the field is named") {
  const auto refused = [](std::string_view more, std::string_view field) {
    const auto ask = parse_ask(ask_with(more));
    return !ask && names(ask.error(), field);
  };
  CHECK(parse_ask(ask_with(R"("unit":0)")).ok());
  CHECK(parse_ask(ask_with(R"("unit":0,"later":{"x":[1]})")).ok());  // a later version's field
  CHECK(refused(R"("have":1)", "unit"));
  CHECK(refused(R"("unit":-1)", "unit"));
  CHECK(refused(R"("unit":1.5)", "unit"));
  CHECK(refused(R"("unit":"1")", "unit"));
  CHECK(refused(R"("unit":4294967296)", "unit"));
  CHECK(refused(R"("unit":1,"whole":true)", "unit"));
  CHECK(refused(R"("unit":1,"whole":1)", "whole"));
  CHECK(refused(R"("unit":1,"have":18446744073709551615)", "have"));
  CHECK(refused(R"("unit":1,"zone":"a b")", "zone"));
  CHECK(refused(R"("unit":1,"zone":"a\u0007")", "zone"));
  CHECK(refused(R"("unit":1,"zone":")" + std::string(64, 'z') + "\"", "zone"));
  CHECK(refused(R"("unit":1,"rights":"root")", "rights"));
  CHECK(refused(R"("unit":1,"hops":4)", "hops"));
  CHECK(refused(R"("unit":1,"avoid":"10.0.0.1:1")", "avoid"));
  std::string many = R"("unit":1,"avoid":["10.0.0.1:1")";
  for (std::size_t i = 0; i < kMostIds; ++i) many += R"(,"10.0.0.1:1")";
  CHECK(refused(many + "]", "avoid"));
  CHECK(refused(R"("unit":1,"repository":"../etc")", "repository"));
  CHECK(refused(R"("unit":1,"registry":"a/b")", "registry"));
  CHECK(refused(R"("unit":1,"digest":"md5:00")", "digest"));
  for (const auto* text : {"", "[]", "null", "7", "{", "[[[[[[[[]]]]]]]]"}) CHECK_FALSE(parse_ask(text).ok());
  CHECK_FALSE(parse_ask(std::string(kMostMessage + 1, ' ')).ok());
}

TEST_CASE("an answer that names nobody, nothing or too many is refused") {
  CHECK_FALSE(parse_ask_answer("{}").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"from"})").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"redirect"})").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"dance"})").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"busy","wait_ms":60001})").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"busy","proved":true})").ok());
  CHECK_FALSE(parse_ask_answer(R"({"kind":"fetch","claim":"abc"})").ok());
  const std::string five = R"("10.0.0.1:1","10.0.0.1:1","10.0.0.1:1","10.0.0.1:1","10.0.0.1:1")";
  CHECK_FALSE(parse_ask_answer(R"({"kind":"from","sources":[)" + five + "]}").ok());
  CHECK_FALSE(parse_who_answer(R"({"units":"abcd"})").ok());
  CHECK_FALSE(parse_tell(R"({"done":[{}]})").ok());
  CHECK_FALSE(parse_tell(R"({"done":[7]})").ok());
  CHECK_FALSE(parse_tell(R"({"have":[]})").ok());
  CHECK_FALSE(parse_recall(R"({"registry":"docker.io","repository":"a","reference":"a b"})").ok());
  CHECK_FALSE(parse_recall_answer(R"({"known":true})").ok());
  const std::string known = R"({"known":true,"rights":"open","digest":")" + digest("m").str() + '"';
  CHECK(parse_recall_answer(known + R"(,"size":1})").ok());
  CHECK_FALSE(parse_recall_answer(known + "}").ok());
  CHECK_FALSE(parse_recall_answer(known + R"(,"size":0})").ok());
  CHECK_FALSE(parse_recall_answer(known + R"(,"size":1125899906842625})").ok());
}
