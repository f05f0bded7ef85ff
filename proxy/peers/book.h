// Book: what a coordinator knows of the units it coordinates: who asked, who fetches, who has them, and what
// their hashes are said to be. It carries no bytes and trusts nobody: a wrong entry costs time, never
// content. Pure, on the TimePoint it is given; soft state, bounded as a whole and for each peer.
// docs/peers.md "The book" has the rules.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/peers/messages.h"
#include "proxy/peers/unit_key.h"

namespace layerd::peers {

struct BookSettings {
  Duration lease = std::chrono::seconds(10);   // lives so long without progress
  Duration forget = std::chrono::minutes(10);  // a unit nobody spoke of
  Duration busy = std::chrono::milliseconds(500);
  unsigned children = 3;                // of one node and unit
  unsigned leases = 4;                  // of one unit at the same time: root, stand-in, and two more
  std::size_t units = 65'536;           // in all
  std::size_t units_per_peer = 16'384;  // that one peer asked for
  std::size_t askers = 262'144;         // of all units
  std::size_t leases_per_peer = 256;
  std::size_t peers = 8'192;
  double asks_per_second = 500;  // of one peer ...
  double burst = 2'000;          // ... and as many at once
};

class Book {
 public:
  explicit Book(BookSettings settings = {}, std::uint64_t seed = std::random_device{}());
  ~Book();

  struct Holder {
    std::string id, zone;
  };
  // Never `redirect`: who coordinates is decided before.
  // holders: members that have the whole blob; they count as sources of the unit from now on.
  AskAnswer ask(const std::string& from, const Ask& ask, const std::vector<Holder>& holders, TimePoint now);
  // Nobody fetches the unit or is known to have it.
  bool is_rootless(const UnitName& unit, TimePoint now);
  // All but the records.
  void tell(const std::string& from, const Tell& tell, TimePoint now);
  // This member cannot be connected to: its leases end, and it is named to nobody until it speaks again.
  void gone(const std::string& member);

  // The hashes of a verified blob overrule what was claimed.
  void prove(const Digest& digest, const std::vector<Digest>& units);
  // The blob was wrong: nothing that was claimed of it stands.
  void drop_claims(const Digest& digest);
  // Upstream ignores Range for it.
  void whole_only(const Digest& digest, TimePoint now);

  // Forgets what is old. Once in a while.
  void sweep(TimePoint now);
  // A peer may not ask, or tell, more often than this; false: not now.
  bool may_speak(const std::string& from, TimePoint now);

  std::size_t units() const { return units_.size(); }
  std::size_t leases() const;

 private:
  struct Peer;
  struct Asker;
  struct Unit;
  using Key = UnitKey;
  using Units = std::unordered_map<Key, std::unique_ptr<Unit>, UnitKeyHash>;

  // book.cc: entries come and go.
  Peer* peer(const std::string& id, TimePoint now);
  // Null: it is not there, and the peer may not have more of them.
  Unit* open(const UnitName& name, const Peer& peer, TimePoint now);
  Unit* find(const UnitName& name, TimePoint now);
  Asker* admit(Unit& unit, Peer& peer);
  // Whom the ask avoids; holds until the next ask.
  void mark_avoided(const Ask& ask);
  bool is_avoided(const Peer& peer) const;
  void note(Unit& unit, Asker& asker, const Ask& ask);
  void expire_leases(Unit& unit, TimePoint now);
  void end_lease(Unit& unit, const Peer& peer);
  void set_claim(Unit& unit, const Digest& sha256, std::vector<std::string> by);
  void done(Peer& peer, const Tell::Done& done, TimePoint now);
  void claim(Unit& unit, Asker& asker, const Tell::Done& done);
  void release_given(Asker& asker);
  void forget(Units::iterator at);
  bool is_whole(const Digest& digest, TimePoint now) const;

  // book_choice.cc: who is sent to whom.
  AskAnswer choose(Unit& unit, Asker& asker, const Ask& ask, TimePoint now);
  std::vector<Asker*> sources(Unit& unit, const Asker& asker, const Ask& ask, bool only_apart);
  std::vector<Asker*> draw(std::vector<Asker*> candidates, const Asker& asker, const Ask& ask);
  AskAnswer refer(Asker& asker, std::vector<Asker*> sources);
  AskAnswer lease(Unit& unit, Asker& asker, TimePoint now);

  BookSettings settings_;
  std::mt19937_64 random_;
  std::map<std::string, std::unique_ptr<Peer>, std::less<>> peers_;
  Units units_;
  std::size_t askers_ = 0;  // of all of them
  std::list<Key> order_;    // of units_, the one longest untouched first
  std::uint64_t mark_ = 0;  // of the last ask; see mark_avoided()
  std::map<Digest, TimePoint> whole_;
};

}  // namespace layerd::peers
