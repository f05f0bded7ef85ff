// Lookup: one host name on its way through DNS: its candidate names, both families, all servers.
// Belongs to the Resolver, which it tells when it is done. Loop thread.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/resolver.h"

namespace layerd::net {

class Lookup {
 public:
  Lookup(Resolver& resolver, std::string name, std::vector<std::string> candidates);
  void start();
  std::vector<Resolver::Waiter> waiting;

 private:
  struct Failure {
    std::string server;
    DnsOutcome outcome;
  };
  // One name and family, over all servers.
  struct Query {
    DnsType type = DnsType::a;
    std::size_t asked = 0, answered = 0;
    bool is_done = false;
    std::vector<Failure> failures;  // of servers, as long as no other one has answered
    DnsAnswer answer;               // once done and not `broken`: what a server said
    std::vector<Ticket> questions;
    Ticket next_server;
  };

  void start_candidate();
  void ask_next(Query& query);
  void on_answer(Query& query, const std::string& server, DnsAnswer answer);
  void query_done(Query& query);
  void candidate_done();
  void answer_found();
  void finish_failed();
  void finish(Result<std::vector<Address>> result, std::chrono::seconds ttl);

  Resolver& resolver_;
  std::string name_;
  std::vector<std::string> candidates_;
  std::size_t candidate_ = 0;
  std::vector<std::shared_ptr<DnsServer>> servers_;
  std::array<Query, 2> queries_;
  std::vector<Failure> failures_;  // of queries that no server answered
  std::string asked_servers_;
  Ticket other_family_;  // a little patience for the family that is still missing
  Ticket overall_;
  LedgerEntry entry_;
};

}  // namespace layerd::net
