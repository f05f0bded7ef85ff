#include "proxy/peers/members.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/address.h"
#include "proxy/peers/dns_members.h"
#include "proxy/peers/kubernetes_members.h"
#include "proxy/peers/listed_members.h"
#include "proxy/peers/merge_members.h"
#include "runtime/file.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSaveAfter = 2s;        // changes that come together are written once
constexpr Duration kLookAgain = 60s;       // for interfaces that come and go
constexpr std::size_t kMostLogged = 4096;  // complaints that are remembered
constexpr const char* kSources[] = {"peers.members", "peers.members_file", "peers.dns", "peers.kubernetes"};

bool is_ipv6_first(const MembersSettings& settings) {
  return settings.listen && settings.listen->is_ipv6 &&
         net::kind_of(*settings.listen) != net::AddressKind::unspecified;
}

// Would a source of that name do the same by both?
bool is_same(std::string_view name, const MembersSettings& a, const MembersSettings& b) {
  if (a.listen.has_value() != b.listen.has_value() || a.site != b.site ||
      is_ipv6_first(a) != is_ipv6_first(b))
    return false;
  if (name == "peers.members") return a.members == b.members;
  if (name == "peers.members_file")
    return a.members_file == b.members_file && a.default_port() == b.default_port();
  return name == "peers.dns" ? a.dns == b.dns : a.kubernetes == b.kubernetes;
}

}  // namespace

Members::Members(Parts parts, MembersSettings settings)
    : parts_(std::move(parts)), settings_(std::move(settings)), list_(std::make_shared<const MemberList>()) {
  LAYERD_ON_LOOP(parts_.loop);
  if (!settings_.state_file.empty() && settings_.listen) {
    auto kept = load_kept(settings_.state_file, settings_.site);
    if (kept)
      kept_ = std::move(*kept);
    else
      LogLine(LogLevel::warn, "members_kept")
          .field("file", settings_.state_file)
          .field("err", kept.error().message);
  }
  rebuild({});
}

Members::~Members() = default;

void Members::set(MembersSettings settings) {
  LAYERD_ON_LOOP(parts_.loop);
  const MembersSettings before = std::exchange(settings_, std::move(settings));
  if (before.site != settings_.site) kept_.clear();
  rebuild(before);
}

std::unique_ptr<MemberSource> Members::make(std::string_view name) const {
  const bool ipv6_first = is_ipv6_first(settings_);
  if (!settings_.listen) return nullptr;
  if (name == "peers.members" && !settings_.members.empty())
    return std::make_unique<ListedMemberSource>(parts_.loop, parts_.names, settings_.members, ipv6_first);
  if (name == "peers.members_file" && !settings_.members_file.empty())
    return std::make_unique<FileMembers>(
        FileMembers::Parts{parts_.loop, parts_.workers, parts_.names, parts_.watch_file},
        settings_.members_file, settings_.default_port(), ipv6_first);
  if (name == "peers.dns" && settings_.dns)
    return std::make_unique<DnsMemberSource>(parts_.loop, parts_.names, *settings_.dns, ipv6_first);
  if (name == "peers.kubernetes" && settings_.kubernetes)
    return std::make_unique<KubernetesMemberSource>(
        KubernetesMemberSource::Parts{parts_.loop, parts_.workers, parts_.client}, *settings_.kubernetes,
        settings_.site);
  return nullptr;
}

// A source that goes on as before stays; another one of the same name begins with its list.
void Members::rebuild(const MembersSettings& before) {
  std::vector<std::unique_ptr<MemberSource>> old = std::move(sources_);
  sources_.clear();
  for (const char* name : kSources) {
    const auto same = std::find_if(old.begin(), old.end(),
                                   [&](const auto& source) { return source && source->name() == name; });
    if (same != old.end() && is_same(name, before, settings_)) {
      sources_.push_back(std::move(*same));
      continue;
    }
    auto source = make(name);
    if (!source) continue;
    std::vector<Member> kept;
    if (same != old.end() && (*same)->of() == source->of() && before.site == settings_.site)
      kept = (*same)->members();
    else if (const auto row = kept_row(name, source->of()); row != kept_.end())
      kept = row->members;
    sources_.push_back(std::move(source));
    sources_.back()->start(std::move(kept), [this] { note(); });
  }
  note();
  look_again();
}

std::vector<KeptList>::iterator Members::kept_row(std::string_view name, const std::string& of) {
  return std::find_if(kept_.begin(), kept_.end(),
                      [&](const KeptList& list) { return list.source == name && list.of == of; });
}

void Members::note() {
  if (!update_.held()) update_ = parts_.loop.post([this] { update(); });
}

void Members::update() {
  update_.reset();
  std::vector<SourceList> lists;
  for (const auto& source : sources_)
    lists.push_back({source->name(), source->name().starts_with("peers.members"), source->members()});
  Merged merged = merge_members(lists, settings_, parts_.machine);
  merge_complaints_ = std::move(merged.complaints);
  log_complaints();
  auto list = std::make_shared<const MemberList>(std::move(merged.members), std::move(merged.self));
  save_soon();
  if (list->all() == list_->all() && list->self() == list_->self()) return;
  LogLine(LogLevel::info, "members")
      .field("members", static_cast<std::uint64_t>(list->all().size()))
      .field("before", static_cast<std::uint64_t>(list_->all().size()))
      .field("self", list->self());
  list_ = std::move(list);
  if (listener_) listener_();
}

std::vector<std::string> Members::complaints() const {
  std::vector<std::string> all;
  for (const auto& source : sources_)
    for (const std::string& complaint : source->complaints())
      all.push_back(source->name() + ": " + complaint);
  for (const std::string& complaint : merge_complaints_) all.push_back("peers: " + complaint);
  return all;
}

std::vector<SourceReport> Members::sources() const {
  std::vector<SourceReport> reports;
  for (const auto& source : sources_)
    reports.push_back({source->name(), source->of(), source->members().size(), !source->has_answered(),
                       source->complaints()});
  return reports;
}

void Members::log_complaints() {
  if (logged_.size() > kMostLogged) logged_.clear();
  for (const std::string& complaint : complaints())
    if (logged_.insert(complaint).second) LogLine(LogLevel::warn, "members").field("err", complaint);
}

void Members::save_soon() {
  if (settings_.state_file.empty() || save_.held()) return;
  const bool is_news = std::any_of(sources_.begin(), sources_.end(), [&](const auto& source) {
    if (!source->has_answered()) return false;
    const auto row = kept_row(source->name(), source->of());
    return row == kept_.end() || row->members != source->members();
  });
  if (is_news) save_ = parts_.loop.after(kSaveAfter, "list of members", [this] { save(); });
}

// What has not answered keeps what is on disk; what is not configured any more goes.
void Members::save() {
  save_.reset();
  std::vector<KeptList> rows;
  for (const auto& source : sources_) {
    if (source->has_answered())
      rows.push_back({source->name(), source->of(), source->members()});
    else if (const auto row = kept_row(source->name(), source->of()); row != kept_.end())
      rows.push_back(*row);
  }
  kept_ = std::move(rows);
  saving_ = parts_.workers.run<Ok>(
      "list of members",
      [path = settings_.state_file, text = kept_text(settings_.site, kept_)] {
        return replace_file(path, text, 0600);
      },
      [](Result<Ok> written) {
        if (!written) LogLine(LogLevel::warn, "members_kept").field("err", written.error().message);
      });
}

void Members::look_again() {
  look_again_.reset();
  if (!settings_.listen) return;
  look_again_ = parts_.loop.after(kLookAgain, "own addresses", [this] {
    note();
    look_again();
  });
}

}  // namespace layerd::peers
