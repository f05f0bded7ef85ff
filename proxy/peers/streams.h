// UnitStream: one stream of bytes that this node takes from a member, from the GET on; Streams: all of them.
// The body that the download reads ends with an error when the member is to be left. Loop thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/peers/acquaintances.h"
#include "proxy/peers/speeds.h"
#include "proxy/peers/unit_key.h"
#include "runtime/loop.h"

namespace layerd::peers {

class Streams;
class ShareCore;

class UnitStream : public std::enable_shared_from_this<UnitStream> {
 public:
  UnitStream(Streams& streams, std::weak_ptr<ShareCore> share, UnitName unit, std::string member);
  UnitStream(const UnitStream&) = delete;
  UnitStream& operator=(const UnitStream&) = delete;
  ~UnitStream();

  // The answer to the GET is here.
  void opened(ByteRange range, std::vector<std::string> path);
  std::unique_ptr<http::BodyReader> body(std::unique_ptr<http::BodyReader> inner);
  // The reader gets this error, now or at its next read. May destroy us: call last.
  void leave(Error why);

  const UnitName& unit() const { return unit_; }
  const std::string& member() const { return member_; }
  std::shared_ptr<ShareCore> share() const { return share_.lock(); }
  // Who feeds us: the member, then who feeds it, as it said last.
  std::vector<std::string> path() const;
  void set_path(std::vector<std::string> path) { path_ = std::move(path); }
  bool is_open() const { return is_open_; }
  bool is_left() const { return left_.has_value(); }
  TimePoint began() const { return began_; }
  TimePoint last_byte() const { return last_byte_; }
  ByteCount received() const { return received_; }
  ByteCount missing() const { return range_.size() - std::min(range_.size(), received_); }
  ByteCount position() const { return range_.first + received_; }
  ByteRange range() const { return range_; }
  // bytes per second since it began
  double rate(TimePoint now) const;

  // Does the download wait for a byte?
  bool is_awaited() const;

  // The watchdog's.
  struct Watch {
    TimePoint next{};          // a look at a stream that nothing speaks against
    Duration step{};           // until the one after that
    TimePoint next_suspect{};  // a look at one that something speaks against
    Duration suspect_step{};
    struct Root {  // who fetches the unit, when it was probed last
      std::string id;
      ByteCount have = 0;
      TimePoint at{};
    } root;
    std::shared_ptr<void> review;  // that runs
  } watch;

 private:
  friend class StreamBody;
  friend class Streams;
  struct Read;
  void arrived(ByteCount bytes);

  Streams& streams_;
  const std::weak_ptr<ShareCore> share_;
  const UnitName unit_;
  const std::string member_;
  std::vector<std::string> path_;
  ByteRange range_;
  bool is_open_ = false;
  std::optional<Error> left_;
  const TimePoint made_;
  TimePoint began_{}, last_byte_{};
  ByteCount received_ = 0;
  std::weak_ptr<Read> reading_;
};

class Streams {
 public:
  Streams(Loop& loop, Acquaintances& acquaintances, Speeds& speeds, SiteMetrics& metrics)
      : loop_(loop), acquaintances_(acquaintances), speeds_(speeds), metrics_(metrics) {}

  // Who feeds this node with the unit, the nearest first; empty: nobody, or upstream.
  std::vector<std::string> path_of(const UnitKey& key) const;
  std::vector<std::shared_ptr<UnitStream>> all() const;
  bool empty() const { return streams_.empty(); }
  // Streams from this member that were begun a moment ago: it may not have counted them when it was probed.
  unsigned begun_lately(const std::string& member) const;
  Loop& loop() { return loop_; }
  // Called when a stream begins.
  void set_wake(Callback<void()> wake) { wake_ = std::move(wake); }

 private:
  friend class UnitStream;
  Loop& loop_;
  Acquaintances& acquaintances_;
  Speeds& speeds_;
  SiteMetrics& metrics_;
  std::unordered_multimap<UnitKey, UnitStream*, UnitKeyHash> streams_;
  Callback<void()> wake_;
};

}  // namespace layerd::peers
