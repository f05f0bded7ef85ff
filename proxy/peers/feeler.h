// Feeler: asks members how they are, beside the pulls. Nothing of a pull waits for it. Loop thread.
//
// While blobs are pulled, one member a second that fell silent is asked. A cable that was out or a site that
// fell apart then costs seconds, and not the half minute for which each silent member is left alone.
//
// While nothing is pulled, each member of the list that never answered is greeted once, one after the other,
// so that people see before the first pull whether the site works. Who is not there is not asked again for
// that; who speaks to us is.
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

 private:
  void tick();
  void greet_later();
  void greet();
  bool is_to_greet(const std::string& member) const;

  SiteParts& parts_;
  BlobName blob_;      // what is asked about
  TimePoint awake_{};  // a pull began last
  bool runs_ = false;
  Ticket timer_;
  Ticket probe_;
  std::set<std::string> greeted_;  // of the list, or waiting to be
  std::deque<std::string> waiting_;
  bool greets_ = false;
  Ticket greet_timer_;
  Ticket greeting_;
};

}  // namespace layerd::peers
