// What a member answers to requests that HttpWire would not send; without sockets.
#include "proxy/net/peer_card.h"
#include "proxy/peers/peer_text.h"
#include "tests/unit/peers/wire_fixture.h"

namespace layerd::test {
namespace {

// One request on a connection of a member; what was answered.
struct Asked final : http::Exchange {
  net::PeerCard who;
  net::Address address{"127.0.0.1", 40000, false};
  net::OwnerSlot slot;
  http::RequestHead head;
  std::string said;
  int status = 0;
  std::string reason, answer_card;
  std::vector<std::string> notes;

  const http::RequestHead& request() const override { return head; }
  const net::Address& peer() const override { return address; }
  const net::Address& local() const override { return address; }
  net::OwnerSlot& owner() override { return slot; }
  std::string_view request_body() const override { return said; }
  net::PeerCard* card() override { return who.address.empty() ? nullptr : &who; }
  void respond(http::ResponseHead answer, std::string_view) override {
    status = answer.status;
    reason = answer.reason;
    answer_card = answer.headers.get(kPeerHeader).value_or("");
  }
  void begin(http::ResponseHead answer, ByteCount) override { status = answer.status; }
  Ticket send(Bytes, Callback<void()>) override { return {}; }
  Ticket send_file(FilePtr, ByteRange, Callback<void()>) override { return {}; }
  void finish() override {}
  void break_off(const Error&) override {}
  bool head_sent() const override { return status != 0; }
  void note(std::string_view name, std::string value) override {
    notes.push_back(std::string(name) + "=" + value);
  }
};

Asked a_request(std::string method = "POST", std::string target = "/peer/v1/probe") {
  Asked asked;
  asked.who.id = kAsker;
  asked.who.site = "berlin";
  asked.who.address = "127.0.0.1";
  asked.head.method = std::move(method);
  asked.head.target = std::move(target);
  asked.head.headers.add(kPeerHeader, std::string("1; id=") + kAsker + "; site=berlin");
  asked.said = text_of(Probe{unit_name()});
  return asked;
}

int status_of(WireFixture& site, Asked& asked) {
  const auto handler = site.service->serve(asked);
  CHECK(handler == nullptr);
  INFO(asked.reason);
  return asked.status;
}

void call_itself(Asked& asked, const std::string& text) { asked.head.headers.set(kPeerHeader, text); }

}  // namespace

TEST_CASE("a message of a member is answered, with who answers") {
  WireFixture site;
  auto asked = a_request();
  CHECK(status_of(site, asked) == 200);
  CHECK(asked.answer_card == "1; id=" + site.to.id + "; site=berlin");
}

TEST_CASE("another version is told so, before anything else is looked at") {
  WireFixture site;
  auto asked = a_request("BREW", "/peer/v7/coffee");
  call_itself(asked, "7; whatever that version says");
  CHECK(status_of(site, asked) == 426);
  CHECK(asked.reason == "this member speaks version 1 of the protocol, not 7");
  CHECK(asked.answer_card.starts_with("1; "));
  auto greeted = a_request();
  greeted.who.version = 2;
  CHECK(status_of(site, greeted) == 426);
  CHECK(site.desk->froms.empty());
}

TEST_CASE("who does not say who it is, or says what does not fit, is refused") {
  WireFixture site;
  auto nobody = a_request();
  nobody.who.address.clear();
  CHECK(status_of(site, nobody) == 403);
  auto silent = a_request();
  silent.head.headers.remove(kPeerHeader);
  CHECK(status_of(site, silent) == 400);
  auto rubbish = a_request();
  call_itself(rubbish, "1; id=me; site=berlin");
  CHECK(status_of(site, rubbish) == 400);
  auto other_site = a_request();
  call_itself(other_site, std::string("1; id=") + kAsker + "; site=munich");
  CHECK(status_of(site, other_site) == 403);
  auto other = a_request();
  call_itself(other, "1; id=10.0.0.2:5152; site=berlin");
  CHECK(status_of(site, other) == 403);
  auto ourselves = a_request();
  call_itself(ourselves, "1; id=" + site.to.id + "; site=berlin");
  CHECK(status_of(site, ourselves) == 403);
  CHECK(site.desk->froms.empty());
}

TEST_CASE("a certificate's member says once for its connection who it is, and it must be plausible") {
  WireFixture site;
  auto asked = a_request();
  asked.who.id.clear();
  asked.who.by_certificate = true;
  asked.who.own_ips = {"127.0.0.1"};
  CHECK(status_of(site, asked) == 200);
  CHECK(asked.who.id == kAsker);
  asked.who.own_ips = {"127.0.0.1", "10.0.0.2"};
  call_itself(asked, "1; id=10.0.0.2:5152; site=berlin");
  CHECK(status_of(site, asked) == 403);  // it was somebody else before
  auto implausible = a_request();
  implausible.who.id.clear();
  implausible.who.own_ips = {"10.0.0.9"};
  implausible.who.address = "10.0.0.9";
  CHECK(status_of(site, implausible) == 403);
}

TEST_CASE("what is no message of this protocol is refused by its own status") {
  WireFixture site;
  auto elsewhere = a_request("GET", "/v2/");
  CHECK(status_of(site, elsewhere) == 404);
  auto unknown = a_request("POST", "/peer/v1/gossip");
  CHECK(status_of(site, unknown) == 404);
  auto empty = a_request();
  empty.said.clear();
  CHECK(status_of(site, empty) == 400);
  auto broken = a_request();
  broken.said = "{\"unit\":";
  CHECK(status_of(site, broken) == 400);
  auto lengthy = a_request();
  lengthy.head.headers.add("Content-Length", "65537");
  CHECK(status_of(site, lengthy) == 413);
  CHECK(site.desk->froms.empty());
}

TEST_CASE("a stretch of a blob is asked for in one way") {
  WireFixture site;
  const auto status = [&site](std::string target, std::string range, std::string path = {}) {
    auto asked = a_request("GET", std::move(target));
    asked.head.headers.add("Range", std::move(range));
    if (!path.empty()) asked.head.headers.add(kPathHeader, std::move(path));
    return status_of(site, asked);
  };
  const std::string good = blob_target(unit_name(1));
  CHECK(status(good, "") == 400);
  CHECK(status(good, "bytes=8388608-") == 400);
  CHECK(status(good, "bytes=0-10") == 400);              // another unit
  CHECK(status(good, "bytes=8388608-16777216") == 400);  // into the next one
  CHECK(status(good, "bytes=8388608-8388609", "me") == 400);
  CHECK(status(good + "&unit=1", "bytes=8388608-8388609") == 400);
  CHECK(status("/peer/v1/blob?unit=1", "bytes=8388608-8388609") == 400);
  CHECK(site.desk->froms.empty());
}

}  // namespace layerd::test
