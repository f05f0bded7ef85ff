// Inquiry: asks every server that may be asked for a name, each over a channel of its own, and reports what
// each said. Takes nothing from the Resolver's cache and leaves nothing in it. Loop thread. Cancelling it
// drops the channels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/net/dns_report.h"
#include "proxy/net/resolver.h"
#include "runtime/ticket.h"

namespace layerd::net {

class Inquiry final : public Pending<DnsReport> {
 public:
  // For one name (with or without search list): its servers in their order.
  struct Candidate {
    std::string name;
    std::vector<std::string> servers;
  };
  Inquiry(UvLoop& loop, DnsReport report, std::vector<Candidate> candidates, Duration try_timeout,
          Done<DnsReport> done)
      : Pending(std::move(done)),
        loop_(loop),
        report_(std::move(report)),
        candidates_(std::move(candidates)),
        try_timeout_(try_timeout) {}
  // Once.
  void start();

 private:
  void ask_candidate();
  void on_answer(std::size_t row, Result<DnsAnswer> answer);
  void candidate_done();
  void finish();
  void on_cancel() noexcept override;

  UvLoop& loop_;
  DnsReport report_;
  const std::vector<Candidate> candidates_;
  const Duration try_timeout_;
  std::size_t candidate_ = 0;
  std::size_t first_row_ = 0;  // of the candidate, in report_.answers
  std::size_t waiting_ = 0;
  std::vector<std::unique_ptr<DnsServer>> servers_;
  std::vector<Ticket> questions_;
  Ticket limit_;
};

}  // namespace layerd::net
