#include "daemon/site_part.h"

#include <fmt/core.h>

#include "daemon/file_watch.h"
#include "daemon/peer_files.h"
#include "daemon/peers_json.h"

namespace layerd::daemon {
namespace {

net::Address address_of(const ListenAddress& address) {
  return {address.host, address.port, address.host.find(':') != std::string::npos};
}

constexpr Duration kTryAgain = std::chrono::seconds(2);

double milliseconds(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

}  // namespace

SitePart::SitePart(const Parts& parts, SettingsPtr settings)
    : parts_(parts),
      settings_(std::move(settings)),
      wanted_(address_of(*settings_->peers.listen)),
      names_(parts.resolver),
      api_client_(parts.loop, parts.dialer, unseen_),
      kubeconfig_(parts.loop, parts.workers, [this] { members_->set(members_settings()); }),
      shelf_(parts.loop, parts.store, parts.catalog, parts.downloads) {}

SitePart::~SitePart() {
  opening_.reset();
  kubeconfig_.stop();
  listener_.reset();
  service_.reset();
  identity_->when_changed(nullptr);
}

std::unique_ptr<SitePart> SitePart::start(const Parts& parts, SettingsPtr settings) {
  std::unique_ptr<SitePart> part(new SitePart(parts, std::move(settings)));
  const auto& peers = part->settings_->peers;
  part->identity_ =
      std::make_unique<net::PeerIdentity>(parts.loop, parts.workers, identity_settings(peers), "");
  (void)part->identity_->load();  // fault() keeps what is wrong
  part->wire_ = std::make_unique<peers::HttpWire>(parts.loop, parts.workers, *part->identity_, part->traffic_,
                                                  parts.metrics);
  part->site_ = std::make_unique<peers::Site>(
      parts.loop, *part->wire_, part->shelf_, parts.metrics, peers::SiteSettings{},
      [self = part.get()](const std::string& registry, const std::string& repository) {
        return self->settings_->peers.share.is_shared(registry + "/" + repository);
      });
  part->identity_->when_changed([self = part.get()] { self->site_->trust_changed(); });
  part->service_ = std::make_unique<peers::PeerService>(parts.loop, *part->identity_, *part->site_,
                                                        part->traffic_, parts.metrics);
  part->service_->set_upload_limit(part->settings_->upload_limit);
  part->kubeconfig_.take(part->settings_);
  part->open_port();
  part->members_ = std::make_unique<peers::Members>(
      peers::Members::Parts{parts.loop, parts.workers, part->names_, part->api_client_,
                            [&loop = parts.loop](const std::string& path, Callback<void()> changed) {
                              return watch_file(loop, path, std::move(changed));
                            }},
      part->members_settings());
  part->members_->set_listener([self = part.get()] { self->members_changed(); });
  part->members_changed();
  return part;
}

// A pull must not fail because sharing cannot begin: a secret that is none, a port that another program has.
void SitePart::open_port() {
  opening_.reset();
  auto listener = std::make_unique<net::PeerListener>(
      parts_.loop, parts_.workers, *identity_, parts_.metrics,
      [this](net::ByteStreamPtr stream) { service_->adopt(std::move(stream)); });
  auto bound = listener->listen(wanted_);
  if (!bound) {
    const std::string why = "peers.listen: " + bound.error().message;
    if (std::exchange(closed_, why) != why) LogLine(LogLevel::warn, "peers_closed").field("err", why);
    return open_later();
  }
  listener_ = std::move(listener);
  if (!std::exchange(closed_, "").empty())
    LogLine(LogLevel::info, "peers_open").field("listen", bound->str());
  if (members_) members_->set(members_settings());
}

// The files are read anew by a worker, and the port is tried again where it is not open. Where it is, the old
// files count until the new ones are right.
void SitePart::open_later() {
  opening_ = parts_.loop.after(kTryAgain, "peers.listen", [this] {
    opening_ = identity_->trust([this](Result<net::PeerTrustPtr>) {
      if (!listener_) return open_port();
      opening_.reset();
      if (!identity_->fault().empty()) open_later();
    });
  });
}

std::vector<net::Address> SitePart::addresses() const {
  return listener_ ? listener_->addresses() : std::vector<net::Address>{wanted_};
}

peers::MembersSettings SitePart::members_settings() const {
  auto settings = settings_->peers.members;
  settings.kubernetes = kubeconfig_.found();
  settings.state_file = settings_->cache_path + "/members.json";
  settings.listen = addresses().front();
  return settings;
}

void SitePart::members_changed() {
  const auto& list = members_->list();
  identity_->set_own(list->self());
  site_->set_members(list);
  if (changed_) changed_();
}

// Where the section is gone a restart ends the sharing (docs/settings.md). Until then all of it counts on,
// what is not shared before all.
void SitePart::apply(SettingsPtr settings) {
  if (!settings->peers.listen) {
    auto kept = std::make_shared<Settings>(*settings);
    kept->peers = settings_->peers;
    settings = std::move(kept);
  }
  settings_ = std::move(settings);
  kubeconfig_.take(settings_);
  if (!opening_.held()) open_later();  // looks whether the files of the new settings are right
  identity_->configure(identity_settings(settings_->peers));
  site_->trust_changed();  // what was wrong may have been put right at the other end
  members_->set(members_settings());
  if (service_) service_->set_upload_limit(settings_->upload_limit);
}

void SitePart::stop_serving() {
  opening_.reset();
  kubeconfig_.stop();
  listener_.reset();  // handshakes that run would end at the service
  service_.reset();
}

Json SitePart::json() {
  const auto asked = site_->look();
  const auto snapshot = site_->snapshot();
  std::map<std::string, PeerFigures> rows;
  std::vector<std::string> unlisted;
  for (const auto& member : snapshot.members) {
    PeerFigures& row = rows[member.id];
    row.state = member.banned_for > Duration::zero() ? "avoided"
                : member.refuses                     ? "refused"
                : member.is_dead                     ? "dead"
                : member.latency                     ? "alive"
                                                     : "unknown";
    if (member.latency) row.latency_ms = milliseconds(*member.latency);
    row.faults = member.faults;
    row.wrong_units = member.wrong_units;
    if (!member.is_listed && !member.is_self) unlisted.push_back(member.id);
    row.last_error = member.last_fault;
  }
  for (const auto& traffic : traffic_.all()) {
    PeerFigures& row = rows[traffic->id];
    row.sent_bytes = traffic->sent;
    row.received_bytes = traffic->received;
    row.faults = std::max(row.faults, traffic->faults);
    if (row.last_error.empty()) row.last_error = traffic->last_fault;
    if (!row.latency_ms && traffic->latency > Duration::zero())
      row.latency_ms = milliseconds(traffic->latency);
    if (row.state == "unknown" && traffic->latency > Duration::zero()) row.state = "alive";
    if (traffic->is_refused && row.state != "dead") row.state = "refused";
  }
  std::vector<std::string> more = settings_->peers.unread_members;
  if (!trouble().empty()) more.push_back(trouble());
  if (const auto why = kubeconfig_.complaint(); !why.empty()) more.push_back(why);
  Json json = peers_json(
      settings_->peers, *members_, listener_ ? addresses().front().str() : std::string(),
      [&rows](const std::string& id) { return rows[id]; }, more, unlisted);
  json["asking"] = asked;
  return json;
}

Json SitePart::units(const Digest& digest) const {
  Json list = Json::array();
  for (const auto& blob : site_->snapshot().blobs)
    if (blob.blob.digest == digest)
      for (const auto& unit : blob.units)
        list.push_back(
            {{"unit", unit.unit}, {"from", unit.from}, {"bytes", unit.have}, {"leased", unit.is_leased}});
  return list;
}

std::size_t SitePart::alive() const {
  std::size_t count = 1;
  for (const auto& member : site_->snapshot().members)
    count += member.is_listed && !member.is_self && !member.failed_last;
  return count;
}

std::string SitePart::trouble() const { return closed_.empty() ? identity_->fault() : closed_; }

Ticket SitePart::recall(const peers::Recall& recall, Done<std::vector<Word>> done) {
  return site_->recall(recall, [done = std::move(done)](Result<std::vector<peers::Recalled>> found) mutable {
    std::vector<Word> words;
    if (found)
      for (auto& one : *found) words.push_back({std::move(one.member), std::move(one.answer)});
    done(std::move(words));
  });
}

Ticket SitePart::get(const std::string& member, const peers::BlobName& blob, ByteCount size,
                     Done<std::unique_ptr<http::BodyReader>> done) {
  return site_->get(member, blob, size, [done = std::move(done)](Result<peers::UnitAnswer> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(std::move(answer->body));
  });
}

void SitePart::avoid(const std::string& member, const std::string& why) { site_->avoid(member, why); }

}  // namespace layerd::daemon
