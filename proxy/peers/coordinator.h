// Coordinator: this node's part in directing the site: the book of the units it coordinates, the records of
// blobs, and the rule who coordinates. Loop thread.
#pragma once

#include <memory>
#include <string>

#include "proxy/peers/acquaintances.h"
#include "proxy/peers/rendezvous.h"
#include "proxy/peers/sharing.h"
#include "runtime/loop.h"

namespace layerd::peers {

class Coordinator {
 public:
  Coordinator(Loop& loop, Shelf& shelf, Acquaintances& acquaintances, const SiteSettings& settings,
              SiteMetrics& metrics, std::uint64_t seed);

  void set_ranking(std::shared_ptr<const Ranking> ranking) { ranking_ = std::move(ranking); }
  const Ranking& ranking() const { return *ranking_; }
  const std::string& self() const { return ranking_->members().self(); }

  // An ask of a member, or our own. Ours is never redirected.
  AskAnswer ask(const std::string& from, const Ask& ask);
  void tell(const std::string& from, const Tell& tell);
  WhoAnswer who(const std::string& from, const Who& who);

  // Asked before the first asker of a unit is sent upstream: true, and this node brings it itself.
  void set_pull(Callback<bool(const UnitName& unit)> pull) { pull_ = std::move(pull); }

  Book& book() { return book_; }
  Records& records() { return records_; }

 private:
  const Member* better_than_us(const Ask& ask) const;

  Loop& loop_;
  Shelf& shelf_;
  Acquaintances& acquaintances_;
  SiteMetrics& metrics_;
  std::shared_ptr<const Ranking> ranking_ = std::make_shared<const Ranking>();
  Book book_;
  Records records_;
  std::mt19937_64 random_;
  Callback<bool(const UnitName& unit)> pull_;
};

}  // namespace layerd::peers
