// An http::Client without a network: answers by script and keeps every request it was given. Loop thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "runtime/loop.h"

namespace layerd::test {

struct ClientReply {
  int status = 200;
  std::vector<http::Header> headers;
  std::string body;
  std::optional<Error> error;  // instead of an answer
  Duration after{};            // virtual or real time until the head
  bool hangs = false;          // never answers
};

struct SentRequest {
  std::string line;  // "GET https://ghcr.io/v2/org/app/manifests/1"
  http::Headers headers;
  std::string body;
  net::DialRequest where;
  Deadline head_deadline;
  std::string header(std::string_view name) const { return std::string(headers.get(name).value_or("")); }
};

class ScriptedClient final : public http::Client {
 public:
  explicit ScriptedClient(Loop& loop) : loop_(loop) {}

  // The next answer to that line; the last one given is repeated.
  void reply(const std::string& line, ClientReply reply) { script_[line].push_back(std::move(reply)); }
  Ticket start(http::ClientRequest request, Done<http::ClientResponse> done) override;

  const std::vector<SentRequest>& sent() const { return sent_; }
  std::vector<std::string> lines() const;
  std::size_t count(const std::string& line) const;

 private:
  Loop& loop_;
  std::map<std::string, std::deque<ClientReply>> script_;
  std::vector<SentRequest> sent_;
};

}  // namespace layerd::test
