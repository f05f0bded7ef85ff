// Feeler: asks members how they are, beside the pulls. Nothing of a pull waits for it. Loop thread.
//
// While blobs are pulled, one member a second that fell silent is asked. A cable that was out or a site that
// fell apart then costs seconds, and not the half minute for which each silent member is left alone.
//
// While nothing is pulled, each member of the list that never answered is greeted once, one after the other,
// so that people see before the first pull whether the site works. Who is not there is not asked again for
// that; who speaks to us is. When people look, everybody who was not heard of lately is greeted at once, so
// that they see how it is and not how it was.
#pragma once

#include <deque>
#include <set>
#include <string>

#include "proxy/peers/site_parts.h"

namespace layerd::peers {

class Feeler {
 public:
  explicit Feeler(SiteParts& parts) : parts_(parts) {}

  // This blob, of a repository that is shared, is pulled now.
  void wake(const BlobName& blob);
  // The ranking has another list.
  void list_changed();
  // What members and we show each other is another now: greetings count anew.
  void trust_changed();
  // It said something to us.
  void heard(const std::string& member);
  // People look at the members. How many of them are greeted yet: who looks again then sees them as they are.
  std::size_t look();

 private:
  struct Turn {
    std::string id;
    bool is_asked_for = false;  // by people: whatever is known of it, and at once
  };

  void tick();
  void greet_later();
  void greet();
  bool is_to_greet(const std::string& member) const;
  bool is_stale(const std::string& member) const;

  SiteParts& parts_;
  BlobName blob_;      // what is asked about
  TimePoint awake_{};  // a pull began last
  bool runs_ = false;
  Ticket timer_;
  Ticket probe_;
  std::set<std::string> greeted_;  // of the list, or waiting to be
  std::deque<Turn> waiting_;
  TimePoint looked_{};  // when people looked last, and somebody was greeted for it
  bool greets_ = false;
  Ticket greet_timer_;
  Ticket greeting_;
};

}  // namespace layerd::peers
