// The operation behind the Ticket of Exchange::send() and send_file(). Loop thread.
#pragma once

#include "proxy/http/server_connection.h"

namespace layerd::http {

// Dropping the Ticket takes back the callback only: the bytes are on their way.
struct ServerConnection::Sending final : Operation {
  explicit Sending(Callback<void()> sent_) : sent(std::move(sent_)) {}
  void cancel() noexcept override { sent = nullptr; }
  Callback<void()> sent;
};

}  // namespace layerd::http
