// AddressRules: which addresses may be dialled for whom (design.md §3.6). Loop thread.
#pragma once

#include <string>
#include <vector>

#include "proxy/net/dialer.h"
#include "runtime/loop.h"

namespace layerd::net {

class AddressRules {
 public:
  explicit AddressRules(Loop& loop) : loop_(loop) {}

  // Where we listen ourselves; never dialled for anybody. A wildcard address stands for all of ours.
  void set_listeners(std::vector<Address> listeners) { listeners_ = std::move(listeners); }

  // The addresses of `addresses` (with the port to be dialled) that `request` may connect to; at least one.
  // Errors: refused_by_policy with diagnosis address_not_allowed, naming the first that was refused.
  Result<std::vector<Address>> permitted(const DialRequest& request, const std::vector<Address>& addresses);

 private:
  bool is_listener(const Address& address);
  bool is_this_machine(const Address& address);

  Loop& loop_;
  std::vector<Address> listeners_;
  std::vector<Address> interfaces_;  // of this machine, read again after a few seconds
  TimePoint interfaces_read_{};
};

}  // namespace layerd::net
