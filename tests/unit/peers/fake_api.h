// A Kubernetes API server for tests, without a network: it keeps what it was asked and answers when and as
// the test says, bodies piece by piece. And the nodes it tells of.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "runtime/loop.h"
#include "tests/support/catch.h"

namespace layerd::test {

// {"metadata": {…}, "status": {…}} as the API writes it, with much that nobody wants.
struct FakeNode {
  std::string name, address;
  std::string zone = "", site = "";
  bool is_ready = true;
  std::string version = "1";
  std::size_t images = 3;
  std::string text() const {
    std::string labels = R"("kubernetes.io/os":"linux")";
    if (!zone.empty()) labels += R"(,"topology.kubernetes.io/zone":")" + zone + '"';
    if (!site.empty()) labels += R"(,"example.com/site":")" + site + '"';
    std::string list;
    for (std::size_t i = 0; i < images; ++i)
      list += (i ? "," : "") + std::string(R"({"names":["docker.io/a}]b\"c@sha256:00"],"sizeBytes":123})");
    return R"({"metadata":{"name":")" + name + R"(","uid":"u","resourceVersion":")" + version +
           R"(","labels":{)" + labels +
           R"(},"annotations":{"name":"no"},"managedFields":[{"x":{"f:a":{}}}]},)" +
           R"("spec":{"podCIDR":"10.42.0.0/24"},"status":{"capacity":{"cpu":"4"},"conditions":[)" +
           R"({"type":"MemoryPressure","status":"False"},{"type":"Ready","status":")" +
           (is_ready ? "True" : "Unknown") + R"(","message":"kubelet \"ok\""}],"addresses":[)" +
           R"({"type":"Hostname","address":")" + name + R"("})" +
           (address.empty() ? ""
                            : R"(,{"type":"InternalIP","address":")" + address +
                                  R"("},{"type":"InternalIP","address":"fd00::99"})") +
           R"(],"images":[)" + list + "]}}";
  }
  std::string event(const std::string& type) const {
    return R"({"type":")" + type + R"(","object":)" + text() + "}\n";
  }
};

inline std::string node_list(const std::vector<FakeNode>& nodes, const std::string& version,
                             const std::string& more = "") {
  std::string items;
  for (const FakeNode& node : nodes) items += (items.empty() ? "" : ",") + node.text();
  return R"({"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":")" + version + "\"" +
         (more.empty() ? "" : R"(,"continue":")" + more + '"') + R"(},"items":[)" + items + "]}\n";
}

class FakeApi final : public http::Client {
 public:
  explicit FakeApi(Loop& loop) : loop_(loop) {}

  Ticket start(http::ClientRequest request, Done<http::ClientResponse> done) override {
    calls_.push_back({std::move(request), std::move(done), nullptr});
    return ticket_for([this, at = calls_.size() - 1] { calls_[at].done = nullptr; });
  }

  std::size_t calls() const { return calls_.size(); }
  const http::ClientRequest& call(std::size_t at) const { return calls_.at(at).request; }
  const std::string& target() const { return calls_.back().request.head.target; }
  std::string header(const char* name) const {
    return std::string(calls_.back().request.head.headers.get(name).value_or(""));
  }
  // Is somebody waiting for the head of the last request?
  bool is_asked() const { return !calls_.empty() && static_cast<bool>(calls_.back().done); }
  bool is_open() const { return !calls_.empty() && calls_.back().stream && !calls_.back().stream->is_left; }

  void open(int status = 200, const std::vector<http::Header>& headers = {}) {
    REQUIRE(is_asked());
    auto& call = calls_.back();
    call.stream = std::make_shared<Stream>();
    http::ClientResponse response;
    response.head.status = status;
    for (const auto& header : headers) response.head.headers.add(header.name, header.value);
    response.body = std::make_unique<Reader>(loop_, call.stream);
    auto done = std::exchange(call.done, nullptr);
    done(std::move(response));
  }
  void send(std::string_view text) {
    REQUIRE(is_open());
    const auto stream = calls_.back().stream;
    stream->text += text;
    stream->serve(loop_);
  }
  void close() {
    const auto stream = calls_.back().stream;
    stream->has_ended = true;
    stream->serve(loop_);
  }
  void break_off(Error error) {
    const auto stream = calls_.back().stream;
    stream->error = std::move(error);
    stream->serve(loop_);
  }
  void answer(int status, std::string_view body, const std::vector<http::Header>& headers = {}) {
    open(status, headers);
    send(body);
    close();
  }
  void refuse(Error error) {
    REQUIRE(is_asked());
    auto done = std::exchange(calls_.back().done, nullptr);
    done(std::move(error));
  }

 private:
  struct Stream {
    std::string text;
    bool has_ended = false, is_left = false;
    std::optional<Error> error;
    std::size_t max = 0;
    std::shared_ptr<Pending<Bytes>> waiting;
    void serve(Loop& loop) {
      if (!waiting || (text.empty() && !has_ended && !error)) return;
      Result<Bytes> result = Bytes();
      if (!text.empty()) {
        result = Bytes::copy_of(text.substr(0, max));
        text.erase(0, std::min(max, text.size()));
      } else if (error) {
        result = *error;
      }
      loop.post_detached([pending = std::move(waiting), result = std::move(result)]() mutable {
        pending->answer(std::move(result));
      });
    }
  };
  class Reader final : public http::BodyReader {
   public:
    Reader(Loop& loop, std::shared_ptr<Stream> stream) : loop_(loop), stream_(std::move(stream)) {}
    ~Reader() override { stream_->is_left = true; }
    Ticket read(std::size_t max, Done<Bytes> done) override {
      stream_->max = max;
      stream_->waiting = std::make_shared<Pending<Bytes>>(std::move(done));
      Ticket ticket(stream_->waiting);
      stream_->serve(loop_);
      return ticket;
    }
    std::optional<ByteCount> length() const override { return std::nullopt; }

   private:
    Loop& loop_;
    std::shared_ptr<Stream> stream_;
  };
  struct Call {
    http::ClientRequest request;
    Done<http::ClientResponse> done;
    std::shared_ptr<Stream> stream;
  };
  Loop& loop_;
  std::deque<Call> calls_;
};

}  // namespace layerd::test
