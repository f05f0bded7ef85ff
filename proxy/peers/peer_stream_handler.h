// The bytes of one upload to a member, and what is known of each member that asks. Parts of PeerService.
// Loop thread.
#pragma once

#include "proxy/peers/peer_service.h"

namespace layerd::peers {

struct PeerService::Guest {
  MemberTrafficPtr traffic;
  std::size_t reader = 0;   // its place in the turns of the upload limit
  std::size_t streams = 0;  // that run
  double tokens = 0;        // requests it may make now
  TimePoint filled{};
};

// The Desk is asked, then the bytes move: a finished file by send_file, a growing one read by read. One piece
// is under way, so that a slow reader holds up nobody.
class PeerService::Stream final : public http::Handler {
 public:
  Stream(PeerService& service, http::Exchange& exchange, GuestPtr guest, const std::string& from,
         UnitGet get);
  ~Stream() override;

 private:
  void begin(Result<std::unique_ptr<Upload>> upload);
  void next();
  void send(std::size_t most);
  void moved(ByteCount bytes);

  PeerService& service_;
  http::Exchange& exchange_;
  const GuestPtr guest_;
  const UnitGet get_;
  std::unique_ptr<Upload> upload_;
  ByteRange left_;
  Ticket pending_;
};

}  // namespace layerd::peers
