#include "runtime/ledger.h"

namespace layerd {

LedgerEntry::LedgerEntry(Ledger& ledger, const char* what, std::string detail, TimePoint since)
    : ledger_(&ledger), next_(ledger.first_), what_(what), detail_(std::move(detail)), since_(since) {
  if (next_) next_->previous_ = this;
  ledger.first_ = this;
  ++ledger.size_;
}

LedgerEntry::~LedgerEntry() {
  if (!ledger_) return;
  (previous_ ? previous_->next_ : ledger_->first_) = next_;
  if (next_) next_->previous_ = previous_;
  --ledger_->size_;
}

std::vector<Ledger::Row> Ledger::rows() const {
  std::vector<Row> rows;
  rows.reserve(size_);
  for (const LedgerEntry* entry = first_; entry; entry = entry->next_)
    rows.push_back({entry->what_, entry->detail_, entry->since_});
  return rows;
}

}  // namespace layerd
