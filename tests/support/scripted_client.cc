#include "tests/support/scripted_client.h"

#include <algorithm>
#include <utility>

namespace layerd::test {
namespace {

class ScriptedBody final : public http::BodyReader {
 public:
  ScriptedBody(Loop& loop, std::string text) : loop_(loop), size_(text.size()), text_(std::move(text)) {}
  Ticket read(std::size_t max, Done<Bytes> done) override {
    auto chunk = text_.substr(0, max);
    text_.erase(0, chunk.size());
    return loop_.post(
        [chunk = std::move(chunk), done = std::move(done)]() mutable { done(Bytes::copy_of(chunk)); });
  }
  std::optional<ByteCount> length() const override { return size_; }

 private:
  Loop& loop_;
  ByteCount size_;
  std::string text_;
};

std::string line_of(const http::ClientRequest& request) {
  const auto& where = request.where;
  const bool is_default = where.port == (where.tls ? 443 : 80);
  return request.head.method + (where.tls ? " https://" : " http://") + where.host +
         (is_default ? "" : ":" + std::to_string(where.port)) + request.head.target;
}

}  // namespace

Ticket ScriptedClient::start(http::ClientRequest request, Done<http::ClientResponse> done) {
  const auto line = line_of(request);
  sent_.push_back({line, request.head.headers, request.body, request.where, request.head_deadline});
  auto& replies = script_[line];
  ClientReply reply;
  reply.error =
      Error{Errc::upstream_unreachable, "nothing is scripted for " + line, 0, 0, "connect_refused", {}};
  if (!replies.empty()) reply = replies.front();
  if (replies.size() > 1) replies.pop_front();
  if (reply.hangs) return ticket_for([done = std::move(done)] {});
  const bool is_head = request.head.method == "HEAD";
  return loop_.after(
      reply.after, "scripted answer", [&loop = loop_, reply, is_head, done = std::move(done)]() mutable {
        if (reply.error) return done(std::move(*reply.error));
        http::ClientResponse response;
        response.head.status = reply.status;
        bool has_length = false;
        for (auto& header : reply.headers) {
          has_length = has_length || http::equal_ignoring_case(header.name, "Content-Length");
          response.head.headers.add(header.name, header.value);
        }
        if (!has_length) response.head.headers.add("Content-Length", std::to_string(reply.body.size()));
        response.body = std::make_unique<ScriptedBody>(loop, is_head ? std::string() : reply.body);
        done(std::move(response));
      });
}

std::vector<std::string> ScriptedClient::lines() const {
  std::vector<std::string> all;
  for (const auto& request : sent_) all.push_back(request.line);
  return all;
}

std::size_t ScriptedClient::count(const std::string& line) const {
  return static_cast<std::size_t>(std::count_if(
      sent_.begin(), sent_.end(), [&line](const auto& request) { return request.line == line; }));
}

}  // namespace layerd::test
