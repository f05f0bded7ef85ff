// An Exchange without a connection: what a handler does with it is recorded for the test to look at.
// Sends answer on a later turn of the loop, as a kernel with room would take them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/http/exchange.h"
#include "runtime/loop.h"

namespace layerd::test {

class RecordedExchange final : public http::Exchange {
 public:
  enum class State {
    open,      // nothing was answered yet
    body,      // the head is out, the body follows
    finished,  // all of the answer was sent
    broken,    // broken off after the head
    gone,      // the client hung up
  };

  RecordedExchange(Loop& loop, std::string method, std::string target, http::Headers headers = {});
  ~RecordedExchange() override;

  // Gives the request to the service; keeps the handler as a connection does.
  void serve_with(http::Service& service);
  void hang_up();
  // From now on sends are taken but not answered: a client that does not read.
  void stall() { stalled_ = true; }

  State state() const { return state_; }
  bool ended() const { return state_ != State::open && state_ != State::body; }
  int status() const { return head_.status; }
  const std::string& reason() const { return head_.reason; }
  std::string header(std::string_view name) const {
    return std::string(head_.headers.get(name).value_or(""));
  }
  bool has_header(std::string_view name) const { return head_.headers.has(name); }
  // Content-Length as a client would see it.
  ByteCount content_length() const { return content_length_; }
  const std::string& body() const { return body_; }
  bool used_send_file() const { return used_send_file_; }
  const std::string& broken_by() const { return broken_by_; }
  std::string note_of(std::string_view name) const;
  bool has_handler() const { return handler_ != nullptr; }

  void set_peer(std::string host) { peer_.host = std::move(host); }
  void set_local(std::string host) { local_.host = std::move(host); }
  // The client is a process of this user, in this cgroup; by default root's in none.
  void set_owner(std::optional<net::SocketOwner> owner) { owner_ = {true, owner}; }

  const http::RequestHead& request() const override { return request_; }
  const net::Address& peer() const override { return peer_; }
  const net::Address& local() const override { return local_; }
  net::OwnerSlot& owner() override { return owner_; }
  void respond(http::ResponseHead head, std::string_view body) override;
  void begin(http::ResponseHead head, ByteCount content_length) override;
  Ticket send(Bytes bytes, Callback<void()> sent) override;
  Ticket send_file(FilePtr file, ByteRange range, Callback<void()> sent) override;
  void finish() override;
  void break_off(const Error& why) override;
  bool head_sent() const override { return state_ != State::open; }
  void note(std::string_view name, std::string value) override {
    notes_.emplace_back(name, std::move(value));
  }

 private:
  Ticket answer_sent(Callback<void()> sent);
  void end(State state);

  Loop& loop_;
  http::RequestHead request_;
  net::Address peer_{"127.0.0.1", 40000, false};
  net::Address local_{"127.0.0.1", 5151, false};
  net::OwnerSlot owner_{true, net::SocketOwner{0, 0}};
  State state_ = State::open;
  http::ResponseHead head_;
  ByteCount content_length_ = 0;
  std::string body_;
  bool used_send_file_ = false;
  bool stalled_ = false;
  std::string broken_by_;
  std::vector<std::pair<std::string, std::string>> notes_;
  http::Service* service_ = nullptr;
  std::unique_ptr<http::Handler> handler_;
};

}  // namespace layerd::test
