// Announcer: tells the site which complete blobs this node has: each to the first two ranks of the blob, when
// it comes or goes, all of them every five minutes and after the list of members changed. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proxy/peers/site_parts.h"

namespace layerd::peers {

class Announcer {
 public:
  explicit Announcer(SiteParts& parts);

  void stored(const Digest& digest) { change(digest, true); }
  void removed(const Digest& digest) { change(digest, false); }
  // Another list: other members keep the records now.
  void list_changed();

 private:
  struct Letter {
    Tell::Have have;
    bool is_begun = false;  // the first of this round has left
  };
  void change(const Digest& digest, bool is_here);
  void send_changes();
  void begin_round_in(Duration wait);
  void page();
  void send(const std::string& to, Letter& letter);
  bool is_useful() const;

  SiteParts& parts_;
  std::map<std::string, Tell::Have> changes_;
  std::map<std::string, Letter> round_;
  std::optional<Digest> after_;  // how far the round has come
  TimePoint last_round_{};
  Ticket changes_timer_;
  Ticket round_timer_;
};

}  // namespace layerd::peers
