// The ledger of outstanding operations: what waits, for whom, since when. `layerd status --debug`
// prints it; a failed LAYERD_CHECK and a slow shutdown too. Loop thread only.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/clock.h"

namespace layerd {

class Ledger;

// One entry, from construction to destruction. `what` must be a literal ("dns lookup").
class LedgerEntry {
 public:
  LedgerEntry() = default;
  LedgerEntry(Ledger& ledger, const char* what, std::string detail, TimePoint since);
  LedgerEntry(LedgerEntry&&) = delete;
  LedgerEntry& operator=(LedgerEntry&&) = delete;
  ~LedgerEntry();

 private:
  friend class Ledger;
  Ledger* ledger_ = nullptr;
  LedgerEntry* previous_ = nullptr;
  LedgerEntry* next_ = nullptr;
  const char* what_ = "";
  std::string detail_;
  TimePoint since_;
};

class Ledger {
 public:
  struct Row {
    const char* what;
    std::string detail;
    TimePoint since;
  };
  std::vector<Row> rows() const;
  std::size_t size() const { return size_; }

 private:
  friend class LedgerEntry;
  LedgerEntry* first_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace layerd
