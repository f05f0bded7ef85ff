// One budget for buffers in the whole process. Who wants a buffer takes a lease first; when the
// budget is spent the asker waits in line: that is the back-pressure. Loop thread only.
#pragma once

#include <list>
#include <memory>

#include "runtime/bytes.h"
#include "runtime/loop.h"

namespace layerd {

class BufferBudget {
 public:
  // A share of the budget; given back when dropped. May outlive its asker, not the budget's loop.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept : pool_(std::move(other.pool_)), size_(std::exchange(other.size_, 0)) {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();
    ByteCount size() const { return size_; }

   private:
    friend class BufferBudget;
    struct Pool;
    Lease(std::shared_ptr<Pool> pool, ByteCount size);
    std::shared_ptr<Pool> pool_;
    ByteCount size_ = 0;
  };

  BufferBudget(Loop& loop, ByteCount total);
  ~BufferBudget();
  // At once if there is room and nobody waits; an empty optional otherwise.
  std::optional<Lease> try_take(ByteCount size);
  // size: at most the total. Waits in line. Dropping the Ticket leaves the line.
  Ticket take(ByteCount size, Done<Lease> done);
  ByteCount in_use() const;
  std::size_t waiting() const;

 private:
  std::shared_ptr<Lease::Pool> pool_;
};

}  // namespace layerd
