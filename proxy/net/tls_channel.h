// TlsChannel: TLS over any ByteStream, and a ByteStream itself: what the client (tls_stream.h) and both ends
// of a connection between members (peer_stream.h) have in common. Loop thread.
//
// OpenSSL never sees a socket. Bytes move in four flows, named as in Node:
//   EncIn    lower stream -> OpenSSL    a read of the lower stream, begun only when OpenSSL asks for more
//   ClearOut OpenSSL -> our reader      decrypted straight into the Bytes handed out
//   ClearIn  our writer -> OpenSSL
//   EncOut   OpenSSL -> lower stream
// While nothing arrives it holds no buffer. Its end: close_notify, then the lower stream's own.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/stream.h"
#include "runtime/workers.h"

struct ssl_st;
struct ssl_ctx_st;
struct bio_method_st;

namespace layerd::net {

class TlsChannel : public ByteStream {
 public:
  ~TlsChannel() override;

  // First and once. Errors: as the kind of channel says.
  Ticket handshake(Done<Ok> done);

  Ticket read(std::size_t max, Done<Bytes> done) override;
  Ticket write(Bytes bytes, Done<Ok> done) override;
  void write_detached(Bytes bytes) override;
  // Always 0: a record cannot be taken back when the lower stream is full.
  std::size_t try_write(ByteView) override { return 0; }
  // No other write may be begun until it has answered.
  Ticket send_file(FilePtr file, ByteRange range, bool more_follows, Done<Ok> done) override;
  void shut_down() override;
  const Address& peer() const override { return lower_->peer(); }
  const Address& local() const override { return lower_->local(); }
  std::string tls_version() const override;

  // The records between OpenSSL and the lower stream.
  struct Wire {
    Bytes in;                // received, not yet taken by OpenSSL
    std::vector<Bytes> out;  // to be written
    std::string first;       // the first bytes the peer sent, for the error
    bool has_ended = false;  // the lower stream ended
  };

 protected:
  enum class Side { client, server };
  enum class Phase { handshake, reading, writing };
  // What a channel is made of; `held` keeps the other two alive.
  struct Context {
    ssl_ctx_st* context;
    bio_method_st* transport;
    std::shared_ptr<void> held;
  };
  TlsChannel(Loop& loop, Workers& workers, ByteStreamPtr lower, Context context, Side side);

  // What went wrong, from OpenSSL's error queue.
  virtual Error fault_in(Phase phase) = 0;
  // The lower stream failed during the handshake.
  virtual Error interrupted(Error lower) const = 0;
  // The handshake was done: is the peer the right one? Nothing: yes.
  virtual std::optional<Error> judge() { return std::nullopt; }

  // Closes it: who reads hears `why` in the next turn, every later call too. Not from within its callbacks.
  void cut(Error why);

  ssl_st* ssl() const { return ssl_; }
  Loop& loop() const { return loop_; }
  const Wire& wire() const { return wire_; }
  bool is_broken() const { return broken_.has_value(); }

 private:
  struct Read;
  struct Write;
  struct FileSend;
  struct Outgoing {
    Bytes bytes;
    std::shared_ptr<Write> waiter;  // null: nobody waits
  };

  void cycle();
  void shake();
  void clear_in();
  std::optional<Result<Bytes>> clear_out(std::size_t max);
  void enc_in();
  void on_input(Result<Bytes> bytes);
  void enc_out(std::shared_ptr<Write> waiter);
  Ticket push(Bytes bytes, std::shared_ptr<Write> waiter);
  void send_more(const std::shared_ptr<FileSend>& send);
  void send_piece(const std::shared_ptr<FileSend>& send, Result<Bytes> piece);
  bool has_input() const;

  Loop& loop_;
  Workers& workers_;
  ByteStreamPtr lower_;
  const std::shared_ptr<void> held_;
  const Side side_;
  Wire wire_;
  ssl_st* ssl_;
  std::shared_ptr<Pending<Ok>> shaking_;
  std::shared_ptr<Read> reader_;
  std::deque<Outgoing> outgoing_;
  std::shared_ptr<FileSend> file_;
  std::optional<Error> broken_;  // every call from here on answers this
  Ticket input_;                 // EncIn
  Ticket kick_;                  // what came earlier is decrypted in the next turn
};

// OpenSSL's view of a Wire; owned by the context.
bio_method_st* new_tls_transport();

}  // namespace layerd::net
