// TlsStream: a TLS client over any ByteStream, and a ByteStream itself. Loop thread.
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
#include "proxy/net/tls_context.h"
#include "proxy/net/tls_errors.h"
#include "runtime/workers.h"

struct ssl_st;
struct x509_store_ctx_st;

namespace layerd::net {

class TlsStream final : public ByteStream {
 public:
  // name: for SNI and verification; numeric addresses get no SNI. port: part of the session's key.
  TlsStream(Loop& loop, Workers& workers, ByteStreamPtr lower, TlsContextPtr context, std::string name,
            std::uint16_t port);
  ~TlsStream() override;

  // First and once. Errors: upstream_unreachable with a tls_* diagnosis; upstream_protocol never.
  Ticket handshake(Done<Ok> done);
  bool was_resumed() const;
  // What the peer showed, once the handshake has answered, whichever way. Nothing: no certificate came.
  std::optional<PeerCertificates> peer_certificates() const;

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

  // C callbacks of the context.
  static int on_new_session(ssl_st* ssl, ssl_session_st* session) noexcept;
  static int on_verify(int ok, x509_store_ctx_st* store) noexcept;

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
  TlsContextPtr context_;
  TlsPeerName name_;
  std::string session_key_;
  Wire wire_;
  ssl_st* ssl_;
  std::shared_ptr<Pending<Ok>> shaking_;
  std::shared_ptr<Read> reader_;
  std::deque<Outgoing> outgoing_;
  std::shared_ptr<FileSend> file_;
  std::optional<Error> certificate_fault_;
  std::optional<PeerCertificates> refused_;  // with certificate_fault_
  std::optional<Error> broken_;              // every call from here on answers this
  Ticket input_;                             // EncIn
  Ticket kick_;                              // what came earlier is decrypted in the next turn
};

// OpenSSL's view of a Wire; owned by the context.
bio_method_st* new_tls_transport();

}  // namespace layerd::net
