// RecordQuery: all records of one type for a name, past the Resolver's cache: for names that stand for lists
// of hosts. Asks the name's servers one after the other. Loop thread. Cancelling it abandons the question.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/resolver_channel.h"
#include "runtime/ticket.h"

namespace layerd::net {

class RecordQuery final : public Pending<DnsAnswer>, public std::enable_shared_from_this<RecordQuery> {
 public:
  // A name to ask for (with or without search list) and its servers in their order, at least one.
  struct Candidate {
    std::string name;
    std::vector<std::shared_ptr<DnsServer>> servers;
  };
  RecordQuery(UvLoop& loop, std::string name, DnsType type, std::vector<Candidate> candidates,
              Done<DnsAnswer> done)
      : Pending(std::move(done)),
        loop_(loop),
        name_(std::move(name)),
        type_(type),
        candidates_(std::move(candidates)) {}
  // Once.
  void start();

 private:
  void ask();
  void on_answer(DnsAnswer answer);
  void next_server();
  void next_candidate();
  void finish(Result<DnsAnswer> result);
  void on_cancel() noexcept override { question_.reset(); }

  UvLoop& loop_;
  const std::string name_;
  const DnsType type_;
  const std::vector<Candidate> candidates_;
  std::size_t candidate_ = 0, server_ = 0;
  bool exists_ = false;
  std::string failures_;  // of servers, for people
  Ticket question_;
};

}  // namespace layerd::net
