// MemberSource: one place that lists members. It keeps its list and says when it is another one; Members
// (proxy/peers/members.h) asks and merges. Loop thread. Destroying it ends what it waits for.
#pragma once

#include <string>
#include <vector>

#include "proxy/peers/member.h"
#include "runtime/callback.h"

namespace layerd::peers {

class MemberSource {
 public:
  virtual ~MemberSource() = default;
  MemberSource(const MemberSource&) = delete;
  MemberSource& operator=(const MemberSource&) = delete;

  // For people: "peers.members", "kubernetes".
  const std::string& name() const { return name_; }
  // What it reads, in a word: a list kept on disk is good for a source with the same word only.
  const std::string& of() const { return of_; }

  // Begins to look. `changed` is never called from within start(), nor after the source is destroyed; it may
  // not destroy it. `kept` is its list of another day, which counts until it has one of its own.
  virtual void start(std::vector<Member> kept, Callback<void()> changed) = 0;
  virtual std::vector<Member> members() const = 0;
  // What is wrong now, one sentence each, without the source's name.
  virtual std::vector<std::string> complaints() const = 0;
  // It has given a whole list since start(), so that the one kept on disk may be replaced by it.
  virtual bool has_answered() const = 0;

 protected:
  MemberSource(std::string name, std::string of) : name_(std::move(name)), of_(std::move(of)) {}

 private:
  const std::string name_, of_;
};

// A member at a numeric address.
inline Member member_at(net::Address address, std::string zone, std::string name) {
  Member member;
  member.id = address.str();
  member.address = std::move(address);
  member.zone = std::move(zone);
  member.name = std::move(name);
  return member;
}

}  // namespace layerd::peers
