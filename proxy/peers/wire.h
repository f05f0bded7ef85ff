// Wire: how a node speaks to the members of its site, and Desk: how it answers them. Interfaces, so that the
// same peer code runs over TLS (proxy/peers/http_wire, proxy/peers/peer_service) and, a thousand nodes in one
// process, on a virtual clock (tests/sim). Loop thread. Dropping a Ticket aborts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/source.h"
#include "proxy/http/client.h"
#include "proxy/peers/member.h"
#include "proxy/peers/messages.h"
#include "runtime/clock.h"
#include "runtime/ticket.h"

namespace layerd::peers {

struct UnitGet {
  UnitName unit;
  ByteRange range;                // of the blob; within the unit, but for a whole blob
  std::vector<std::string> path;  // ids the asker must not be fed by: its own, and whom it feeds
};

struct UnitAnswer {
  ByteCount total = 0;  // of the blob
  ByteRange range;      // as asked
  Rights rights = Rights::unknown;
  std::vector<std::string> path;  // who feeds the one that answers, ids, the nearest first
  std::unique_ptr<http::BodyReader> body;
};

inline constexpr const char* kNotAsked = "not_asked";

class Wire {
 public:
  virtual ~Wire() = default;
  // Errors of all: upstream_unreachable (cannot be connected to within 250 ms, refused, reset: the member is
  // dead), upstream_timeout (hello and answer took over 1 s), denied (not admitted, or not shared), not_found
  // (does not have it), overloaded (no slot; retry_after may be set), upstream_protocol (another version, or
  // rubbish). get: invalid_request where the range is empty; nothing is sent. denied, with the diagnosis
  // kNotAsked: this node has nothing to be admitted by, and nothing was sent.
  virtual Ticket ask(const Member& to, const Ask& ask, Done<AskAnswer> done) = 0;
  virtual Ticket probe(const Member& to, const Probe& probe, Done<ProbeAnswer> done) = 0;
  virtual Ticket who(const Member& to, const Who& who, Done<WhoAnswer> done) = 0;
  virtual Ticket recall(const Member& to, const Recall& recall, Done<RecallAnswer> done) = 0;
  virtual Ticket tell(const Member& to, const Tell& tell, Done<Ok> done) = 0;
  // The head of a stream of bytes; the body goes on for as long as its reader is held.
  virtual Ticket get(const Member& to, const UnitGet& get, Done<UnitAnswer> done) = 0;
};

// What a Desk answers a UnitGet with: somebody else moves the bytes (sendfile, or a read of the growing
// file). Its life is the upload's: the slot and the counts go with it.
struct Upload {
  virtual ~Upload() = default;
  ByteCount total = 0;
  Rights rights = Rights::unknown;
  std::vector<std::string> path;
  cache::SourcePtr source;  // read() waits for bytes that are still on their way; file() once it is complete
  // Whoever moves the bytes says how many more have left: the node learns from it how fast it can give.
  virtual void moved(ByteCount bytes) { static_cast<void>(bytes); }
};

// The other end: what a node answers. `from` was authenticated; it need not be in our list.
class Desk {
 public:
  virtual ~Desk() = default;
  virtual AskAnswer on_ask(const std::string& from, const Ask& ask) = 0;
  // Of the three below: has it asked too often? Of the others the book decides.
  virtual bool may_ask(const std::string& from) = 0;
  virtual ProbeAnswer on_probe(const std::string& from, const Probe& probe) = 0;
  virtual WhoAnswer on_who(const std::string& from, const Who& who) = 0;
  virtual RecallAnswer on_recall(const std::string& from, const Recall& recall) = 0;
  virtual void on_tell(const std::string& from, const Tell& tell) = 0;
  // Errors: not_found, denied, overloaded.
  virtual Ticket on_get(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done) = 0;
};

}  // namespace layerd::peers
