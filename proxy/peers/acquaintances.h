// Acquaintances: what this node has lived through with each member: whether it answers, how fast, what it
// gave, what it did wrong. Connect failures are the failure detector of the site. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proxy/peers/member.h"
#include "proxy/peers/messages.h"
#include "proxy/peers/site_settings.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::peers {

struct Acquaintance {
  TimePoint dead_until{};           // it is left alone until then
  Duration dead_next{};             // for so long when it fails once more; zero: it answered last
  TimePoint banned_until{};         // no bytes are taken from it until then
  TimePoint spoken{};               // when it was heard of last
  TimePoint revived{};              // when what it said ended its death last
  unsigned misses = 0;              // calls that failed since it answered or brought bytes
  TimePoint died{};                 // when it became dead last
  TimePoint returned{};             // when it was found to be there after all last
  TimePoint felt{};                 // when it was asked how it is, though dead, last
  bool unmet = false;               // it was greeted in vain, and answered nothing since
  bool refuses = false;             // it is left alone because one of the two does not admit the other
  std::optional<Duration> latency;  // of its last answer
  ByteCount bytes_in = 0, bytes_out = 0;
  std::uint64_t suspicions = 0;   // wrong bytes that it, or another one with it, gave
  std::uint64_t wrong_units = 0;  // that it brought and that were not what they are said to be
  std::uint64_t faults = 0;       // failed calls, broken streams, wrong units
  std::string last_fault;         // for people; printable
};

class Acquaintances {
 public:
  Acquaintances(const SiteSettings& settings, SiteMetrics& metrics)
      : settings_(settings), metrics_(metrics) {}

  bool is_dead(const std::string& id, TimePoint now) const;
  bool is_banned(const std::string& id, TimePoint now) const;
  // Was it, or at least somebody, found to be there after all since then?
  bool returned_since(const std::string& id, TimePoint then) const;
  bool anybody_returned_since(TimePoint then) const { return last_return_ > then; }
  // Did it become dead in the last minute?
  bool died_lately(const std::string& id, TimePoint now) const;
  // A call was answered; latency: nothing, where it says nothing of the way there. Or the member spoke to us.
  // Who became dead together with it (a cable that was out, a site that fell apart) and had answered or
  // spoken before is given another chance with it.
  void answered(const std::string& id, std::optional<Duration> latency, TimePoint now);
  void spoke(const std::string& id, TimePoint now);
  // A call failed. True: the member is dead, or refuses us, from now on and was not before. Who was heard of
  // a moment ago may miss two calls: a full link is late with them.
  bool failed(const std::string& id, const Error& why, TimePoint now);
  // It did not answer a greeting. That is for people: a machine that is busy with its start answers too late,
  // and who needs it asks it all the same.
  void greeted_in_vain(const std::string& id, const Error& why);
  // The dead member of the list that was left alone for longest, those that were ever heard of first.
  std::optional<std::string> next_to_feel(const MemberList& members, TimePoint now);
  // What we show and accept is another now: who did not admit us, or we it, is tried again.
  void trust_changed();
  void ban(const std::string& id, Duration how_long, std::string_view why, TimePoint now);
  void unban(const std::string& id);
  // Wrong bytes came along a chain in which it stood: it, or another of them, made them wrong.
  void suspect(const std::string& id, Duration how_long, TimePoint now);
  std::uint64_t suspicions(const std::string& id) const;
  void gave(const std::string& id, ByteCount bytes, TimePoint now) {
    auto& one = at(id);
    one.bytes_in += bytes;
    one.spoken = now;
    one.misses = 0;
  }
  void took(const std::string& id, ByteCount bytes) { at(id).bytes_out += bytes; }
  void fault(const std::string& id, std::string_view what);
  // It brought a unit that is not what it is said to be.
  void wrong_unit(const std::string& id);

  const std::map<std::string, Acquaintance, std::less<>>& all() const { return all_; }

 private:
  Acquaintance& at(const std::string& id);
  void revive(Acquaintance& one, TimePoint now);

  const SiteSettings& settings_;
  SiteMetrics& metrics_;
  TimePoint last_return_{};
  std::map<std::string, Acquaintance, std::less<>> all_;
};

// Nobody is there, or nobody who answers in time.
bool means_dead(const Error& error);
// Somebody is there, and one of the two does not admit the other: another secret, site or version, a
// certificate that does not count. Asking again changes nothing.
bool means_refused(const Error& error);

}  // namespace layerd::peers
