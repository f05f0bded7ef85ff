// Children on libuv: each in a session of its own, so that what it starts can be killed with it.
// Loop thread. Destroying this kills all that still run; their callbacks never come.
#pragma once

#include <cstddef>
#include <set>

#include "runtime/children.h"
#include "runtime/uv_loop.h"

namespace layerd {

class UvChildren final : public Children {
 public:
  explicit UvChildren(UvLoop& loop) : loop_(loop) {}
  ~UvChildren() override;
  UvChildren(const UvChildren&) = delete;
  UvChildren& operator=(const UvChildren&) = delete;

  Ticket run(ChildCommand command, Done<ChildEnd> done) override;
  // Those that have not been reaped yet.
  std::size_t running() const { return all_.size(); }

 private:
  struct Child;
  UvLoop& loop_;
  std::set<Child*> all_;
};

}  // namespace layerd
