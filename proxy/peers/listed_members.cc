#include "proxy/peers/listed_members.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "proxy/net/address.h"

namespace layerd::peers {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostQuestions = 16;  // at once

}  // namespace

// Spread, so that the nodes of a site that were started together do not ask together for ever.
Duration next_look_up(std::chrono::seconds ttl) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  const Duration wait = std::clamp<Duration>(ttl, 5s, 1h);
  return wait + Duration(std::uniform_int_distribution<std::int64_t>(0, wait.count() / 10)(random));
}

ListedMembers::ListedMembers(Loop& loop, MemberNames& names, bool ipv6_first, Callback<void()> changed)
    : loop_(loop), names_(names), ipv6_first_(ipv6_first), changed_(std::move(changed)) {}

void ListedMembers::set(std::vector<ListedMember> listed, const std::vector<Member>& kept) {
  const std::vector<Entry> before = std::move(entries_);
  entries_.clear();
  asking_ = 0;
  std::map<std::string, const Entry*> old;
  for (const Entry& entry : before) old.emplace(entry.listed.str(), &entry);
  std::map<std::string_view, const Member*> known;
  for (const Member& member : kept) known.emplace(member.name, &member);
  for (ListedMember& one : listed) {
    Entry& entry = entries_.emplace_back();
    entry.address = net::parse_address(one.host, one.port);
    entry.is_name = !entry.address;
    entry.due = loop_.now();
    const std::string name = one.str();
    entry.listed = std::move(one);
    if (!entry.is_name) continue;
    if (const auto same = old.find(name); same != old.end()) {
      entry.address = same->second->address;
      entry.has_answer = same->second->has_answer;
      entry.failure = same->second->failure;
      if (!same->second->question.held()) entry.due = same->second->due;
    } else if (const auto same_kept = known.find(name); same_kept != known.end()) {
      entry.address = same_kept->second->address;
    }
  }
  next_ = loop_.post([this] { ask_due(); });
}

std::vector<Member> ListedMembers::members() const {
  std::vector<Member> members;
  for (const Entry& entry : entries_) {
    if (!entry.address) continue;
    auto address = *entry.address;
    address.port = entry.listed.port;
    members.push_back(member_at(std::move(address), entry.listed.zone, entry.listed.str()));
  }
  return members;
}

std::vector<std::string> ListedMembers::complaints() const {
  std::vector<std::string> complaints;
  for (const Entry& entry : entries_) {
    if (entry.failure.empty()) continue;
    complaints.push_back(entry.address ? fmt::format("{}: {}; its last address {} counts", entry.listed.str(),
                                                     entry.failure, entry.address->host)
                                       : fmt::format("{}: {}", entry.listed.str(), entry.failure));
  }
  return complaints;
}

bool ListedMembers::has_answered() const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [](const Entry& entry) { return !entry.is_name || entry.has_answer; });
}

void ListedMembers::ask_due() {
  auto next = Deadline::never();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (!entry.is_name || entry.question.held()) continue;
    if (entry.due > loop_.now()) {
      next = next.sooner({entry.due});
    } else if (asking_ < kMostQuestions) {
      ++asking_;
      entry.question =
          addresses_of(names_, entry.listed.host, ipv6_first_,
                       [this, i](Result<net::DnsAnswer> answer) { found(i, std::move(answer)); });
    }
  }
  next_ = loop_.at(next, "names of members", [this] { ask_due(); });
}

void ListedMembers::found(std::size_t at, Result<net::DnsAnswer> answer) {
  Entry& entry = entries_[at];
  --asking_;
  entry.question.reset();
  const auto before = entry.address ? entry.address->host : std::string();
  const bool was_answered = entry.has_answer;
  const std::string failure = std::exchange(entry.failure, answer ? "" : answer.error().message);
  entry.has_answer = true;
  if (answer && !answer->addresses.empty()) {
    entry.address = answer->addresses.front();  // of several the same one everywhere
    entry.backoff.reset();
    entry.due = loop_.now() + next_look_up(answer->ttl);
  } else {
    entry.due = loop_.now() + entry.backoff.next();
  }
  const bool is_other = !was_answered || failure != entry.failure ||
                        before != (entry.address ? entry.address->host : std::string());
  next_ = loop_.post([this] { ask_due(); });
  if (is_other) changed_();
}

ListedMemberSource::ListedMemberSource(Loop& loop, MemberNames& names, std::vector<ListedMember> listed,
                                       bool ipv6_first)
    : MemberSource("peers.members", ""),
      loop_(loop),
      listed_(std::move(listed)),
      members_(loop, names, ipv6_first, [this] { changed_(); }) {}

void ListedMemberSource::start(std::vector<Member> kept, Callback<void()> changed) {
  changed_ = std::move(changed);
  members_.set(std::move(listed_), kept);
  first_ = loop_.post([this] { changed_(); });
}

}  // namespace layerd::peers
