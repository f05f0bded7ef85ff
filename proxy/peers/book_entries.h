// The entries of a Book. Only for proxy/peers/book*.cc.
#pragma once

#include <deque>

#include "proxy/peers/book.h"
#include "proxy/peers/message_fields.h"

namespace layerd::peers {

// Somebody who asked, or is said to hold something.
struct Book::Peer {
  std::string id;
  std::string zone;
  unsigned load = 0;      // uploads, as it said last
  double given = 0;       // children it was named to since
  bool gone = false;      // cannot be connected to, and has not spoken since
  std::size_t units = 0;  // entries in which it is an asker
  std::size_t leases = 0;
  std::uint64_t avoided = 0;  // by the ask of this mark
  double words = 0;           // that it may still speak, as of `refilled`
  TimePoint refilled{};
};

// A peer's part in one unit.
struct Book::Asker {
  Peer* peer = nullptr;
  ByteCount have = 0;
  std::uint64_t sum = 0;  // the beginning of its hash of the unit; 0: not known
  bool complete = false;
  bool receiving = false;  // it was told where to take the unit from, and has not given up
  bool apart = false;      // fed by a stand-in for the first root, or is one
  double children = 0;     // named to so many, each time as one of n: 1/n
  unsigned complaints = 0;
  std::vector<Asker*> avoids;  // about whom it complained last
  std::vector<Asker*> given;   // who was named to it last
};

struct Book::Unit {
  struct Lease {
    Peer* peer = nullptr;
    TimePoint alive{};  // of the last progress
    ByteCount have = 0;
  };
  struct Claim {
    Digest sha256;
    std::vector<std::string> by;  // who fetched it, at most 4; empty: it is that of a verified blob
    bool is_proved() const { return by.empty(); }
    // One of them whom the asker does not refuse, if there is one.
    std::string by_other_than(const std::vector<std::string>& avoid) const {
      for (const auto& id : by)
        if (!contains(avoid, id)) return id;
      return by.empty() ? std::string{} : by.front();
    }
  };

  Asker* find(const Peer& peer) {
    for (auto& asker : askers)
      if (asker.peer == &peer) return &asker;
    return nullptr;
  }
  Lease* lease_of(const Peer& peer) {
    for (auto& lease : leases)
      if (lease.peer == &peer) return &lease;
    return nullptr;
  }

  Key key;
  TimePoint touched{};
  std::list<Key>::iterator order;
  std::deque<Asker> askers;  // never shrinks: others point into it
  std::vector<Lease> leases;
  std::optional<Claim> claim;
  bool disputed = false;  // two claims disagreed: only a proof counts from now on
};

}  // namespace layerd::peers
