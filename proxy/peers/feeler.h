// Feeler: while blobs are pulled, one member a second that fell silent is asked how it is. A cable that was
// out or a site that fell apart then costs seconds, and not the half minute for which each silent member is
// left alone. Nothing of a pull waits for it. Loop thread.
#pragma once

#include "proxy/peers/site_parts.h"

namespace layerd::peers {

class Feeler {
 public:
  explicit Feeler(SiteParts& parts) : parts_(parts) {}

  // This blob, of a repository that is shared, is pulled now.
  void wake(const BlobName& blob);

 private:
  void tick();

  SiteParts& parts_;
  BlobName blob_;      // what is asked about
  TimePoint awake_{};  // a pull began last
  bool runs_ = false;
  Ticket timer_;
  Ticket probe_;
};

}  // namespace layerd::peers
