#include "runtime/budget.h"

#include <algorithm>

namespace layerd {

struct BufferBudget::Lease::Pool : std::enable_shared_from_this<Pool> {
  struct Wait final : Pending<Lease> {
    Wait(Done<Lease> done, ByteCount bytes) : Pending(std::move(done)), size(bytes) {}
    ByteCount size;
  };
  Pool(Loop& on, ByteCount all) : loop(on), total(all) {}

  void give_back(ByteCount size) {
    used -= size;
    if (!waits.empty() && !serving) {
      serving = true;
      loop.post_detached([self = shared_from_this()] { self->serve(); });
    }
  }
  // Answers those at the head of the line for whom there is room. Posted, so nobody is called from
  // inside a destructor.
  void serve() {
    serving = false;
    while (!waits.empty()) {
      auto wait = waits.front();
      if (wait->wanted() && used + wait->size > total) return;
      waits.pop_front();
      if (!wait->wanted()) continue;
      used += wait->size;
      wait->answer(Lease(shared_from_this(), wait->size));
    }
  }

  Loop& loop;
  ByteCount total;
  ByteCount used = 0;
  bool serving = false;
  std::list<std::shared_ptr<Wait>> waits;
};

BufferBudget::Lease::Lease(std::shared_ptr<Pool> pool, ByteCount size)
    : pool_(std::move(pool)), size_(size) {}

BufferBudget::Lease& BufferBudget::Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  Lease old(std::move(*this));
  pool_ = std::move(other.pool_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

BufferBudget::Lease::~Lease() {
  if (auto pool = std::move(pool_)) pool->give_back(size_);
}

BufferBudget::BufferBudget(Loop& loop, ByteCount total) : pool_(std::make_shared<Lease::Pool>(loop, total)) {}
BufferBudget::~BufferBudget() { pool_->waits.clear(); }

std::optional<BufferBudget::Lease> BufferBudget::try_take(ByteCount size) {
  if (!pool_->waits.empty() || pool_->used + size > pool_->total) return std::nullopt;
  pool_->used += size;
  return Lease(pool_, size);
}

Ticket BufferBudget::take(ByteCount size, Done<Lease> done) {
  auto wait = std::make_shared<Lease::Pool::Wait>(std::move(done), std::min(size, pool_->total));
  pool_->waits.push_back(wait);
  if (!pool_->serving) {
    pool_->serving = true;
    pool_->loop.post_detached([pool = pool_] { pool->serve(); });
  }
  return Ticket(wait);
}

ByteCount BufferBudget::in_use() const { return pool_->used; }

std::size_t BufferBudget::waiting() const {
  return static_cast<std::size_t>(std::count_if(pool_->waits.begin(), pool_->waits.end(),
                                                [](const auto& wait) { return wait->wanted(); }));
}

}  // namespace layerd
