// Teller: gathers what needs no answer, so that several tells to one member travel as one. Loop thread.
// Destroying it drops what was not sent.
#pragma once

#include <map>
#include <string>

#include "proxy/peers/unit_key.h"
#include "runtime/loop.h"

namespace layerd::peers {

class Teller {
 public:
  using Deliver = Callback<void(const std::string& to, Tell tell)>;
  Teller(Loop& loop, Duration after, Deliver deliver)
      : loop_(loop), after_(after), deliver_(std::move(deliver)) {}

  void done(const std::string& to, Tell::Done done);
  void alive(const std::string& to, Tell::Alive alive);
  void gave_up(const std::string& to, Tell::GaveUp gave_up);
  void taken(const std::string& to, Tell::Taken taken);
  // Everything that waits leaves now.
  void flush();

 private:
  Tell& letter(const std::string& to);

  Loop& loop_;
  const Duration after_;
  Deliver deliver_;
  std::map<std::string, Tell> letters_;
  Ticket timer_;
};

}  // namespace layerd::peers
