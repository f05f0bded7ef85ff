// Records: which members said that they hold which complete blobs. Kept for those blobs of which we are one
// of the first two ranks; told again every few minutes, and forgotten when they are not. Pure, bounded.
#pragma once

#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/peers/messages.h"

namespace layerd::peers {

struct RecordSettings {
  Duration keep = std::chrono::minutes(12);  // told every 5 minutes, so that one that is lost does no harm
  std::size_t records = 200'000;
  std::size_t records_per_peer = 50'000;
  std::size_t peers = 8'192;
};

class Records {
 public:
  explicit Records(RecordSettings settings = {}) : settings_(settings) {}

  void tell(const std::string& from, const Tell::Have& have, TimePoint now);
  // Who holds it; all of them, those who told it last first.
  std::vector<std::string> holders(const Digest& digest, TimePoint now) const;
  // Does not have it, whatever it said.
  void remove(const std::string& member, const Digest& digest);
  void sweep(TimePoint now);
  std::size_t size() const { return count_; }

 private:
  struct Peer {
    std::string id;
    std::uint32_t round = 0;  // a list that replaces all begins the next one
    std::size_t records = 0;  // of any round
  };
  struct Holder {
    Peer* peer = nullptr;
    std::uint32_t round = 0;
    TimePoint told{};
  };
  bool stands(const Holder& holder, TimePoint now) const {
    return holder.round == holder.peer->round && now - holder.told < settings_.keep;
  }
  void note(Peer& peer, const Digest& digest, TimePoint now);

  RecordSettings settings_;
  std::map<std::string, Peer, std::less<>> peers_;
  std::unordered_map<Digest, std::vector<Holder>> holders_;
  std::size_t count_ = 0;
};

}  // namespace layerd::peers
