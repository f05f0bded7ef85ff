#include "proxy/net/resolver.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/net/address.h"
#include "proxy/net/resolver_lookup.h"
#include "runtime/file.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kLeastTtl{1}, kMostTtl{3600}, kNegativeTtl{5};
constexpr Duration kStaleFor = 1h;
constexpr Duration kAvoidSilent = 30s;
constexpr std::size_t kMostCached = 1024;
constexpr std::size_t kMostRunning = 256;
constexpr std::size_t kMostFile = 1u << 20;

bool is_under(std::string_view name, std::string_view suffix) {
  if (suffix.empty()) return true;
  if (name.size() < suffix.size() || name.substr(name.size() - suffix.size()) != suffix) return false;
  return name.size() == suffix.size() || name[name.size() - suffix.size() - 1] == '.';
}

const DnsZone* zone_in(const std::vector<DnsZone>& zones, std::string_view name) {
  const DnsZone* best = nullptr;
  for (const DnsZone& zone : zones) {
    if (is_under(name, zone.suffix) && (!best || zone.suffix.size() > best->suffix.size())) best = &zone;
  }
  return best;
}

std::string with_port(const std::string& server) {
  auto parsed = parse_host_port(server, 53);
  auto address = parsed ? parse_address(parsed->host, parsed->port) : std::nullopt;
  return address ? address->str() : server;
}

}  // namespace

Resolver::Resolver(UvLoop& loop, ResolverSettings settings) : loop_(loop), settings_(std::move(settings)) {}
Resolver::~Resolver() = default;

void Resolver::set(ResolverSettings settings) {
  LAYERD_ON_LOOP(loop_);
  const ResolverSettings before = std::exchange(settings_, std::move(settings));
  has_looked_ = false;
  conf_stamp_ = hosts_stamp_ = {};
  const auto is_asked_otherwise = [&](const std::string& key) {
    const std::string name = canonical_name(key);
    const DnsZone *old = zone_in(before.zones, name), *now = zone_of(name);
    if (settings_.hosts.contains(name)) return true;
    if (!old && !now) return before.search != settings_.search || before.resolv_conf != settings_.resolv_conf;
    return !old || !now || old->servers != now->servers;
  };
  std::erase_if(cache_, [&](const auto& entry) { return is_asked_otherwise(entry.first); });
  std::map<std::string, std::vector<Waiter>> again;
  for (auto entry = running_.begin(); entry != running_.end();) {
    if (!is_asked_otherwise(entry->first)) {
      ++entry;
      continue;
    }
    again.emplace(entry->first, std::move(entry->second->waiting));
    entry = running_.erase(entry);
  }
  // Look-ups under way keep their servers.
  std::erase_if(servers_, [&](const auto& server) { return !is_named(server.first); });
  refresh();
  for (auto& [key, waiting] : again) {
    if (auto addresses = known(key)) {
      for (const Waiter& waiter : waiting)
        loop_.post_detached([waiter, found = *addresses]() mutable { waiter->answer(std::move(found)); });
    } else {
      begin(key, std::move(waiting));
    }
  }
}

Ticket Resolver::lookup(const std::string& host, Done<std::vector<Address>> done) {
  LAYERD_ON_LOOP(loop_);
  auto waiter = std::make_shared<Pending<std::vector<Address>>>(std::move(done));
  const auto answer = [&](Result<std::vector<Address>> result) {
    loop_.post_detached(
        [waiter, result = std::move(result)]() mutable { waiter->answer(std::move(result)); });
    return Ticket(waiter);
  };
  refresh();
  if (auto addresses = known(host)) return answer(std::move(*addresses));
  // The dot at the end stays in the key: it turns the search list off.
  std::string key = canonical_name(host);
  if (!is_host_name(key)) {
    return answer(Error{Errc::upstream_unreachable,
                        fmt::format("\"{}\" is not a host name", printable(host)),
                        0,
                        0,
                        "dns_not_found",
                        {}});
  }
  const bool is_absolute = host.back() == '.';
  if (is_absolute) key += '.';
  if (auto hit = cached(key)) return answer(std::move(*hit));
  if (const auto running = running_.find(key); running != running_.end()) {
    running->second->waiting.push_back(waiter);
    return Ticket(waiter);
  }
  if (running_.size() >= kMostRunning)
    return answer(Error{Errc::overloaded, "too many names are being looked up at once"});
  begin(key, {waiter});
  return Ticket(waiter);
}

// `key`: canonical, with a dot at its end if the search list is not to be used.
void Resolver::begin(const std::string& key, std::vector<Waiter> waiting) {
  auto& running = running_[key];
  running = std::make_unique<Lookup>(*this, key, candidates_for(key));
  running->waiting = std::move(waiting);
  running->start();
}

// A zone names its names whole; "." only says which servers to ask.
std::vector<std::string> Resolver::candidates_for(const std::string& host) const {
  const std::string name = canonical_name(host);
  if (const DnsZone* zone = zone_of(name); zone && !zone->suffix.empty()) return {name};
  if (settings_.search.empty()) return candidate_names(host, conf_);
  ResolvConf conf = conf_;
  conf.search = settings_.search;
  return candidate_names(host, conf);
}

// What needs no DNS.
std::optional<std::vector<Address>> Resolver::known(const std::string& host) {
  if (auto numeric = parse_address(host, 0)) return std::vector<Address>{*numeric};
  const std::string name = canonical_name(host);
  for (const HostsTable* table : {&settings_.hosts, &hosts_}) {
    if (auto found = table->find(name); found != table->end()) return found->second;
  }
  if (is_under(name, "localhost")) return std::vector<Address>{{"::1", 0, true}, {"127.0.0.1", 0, false}};
  return std::nullopt;
}

std::optional<Result<std::vector<Address>>> Resolver::cached(const std::string& name) {
  const auto found = cache_.find(name);
  if (found == cache_.end() || loop_.now() >= found->second.expires) return std::nullopt;
  if (found->second.addresses.empty()) return Result<std::vector<Address>>(found->second.error);
  return Result<std::vector<Address>>(found->second.addresses);
}

void Resolver::refresh() {
  if (has_looked_ && loop_.now() - looked_ < settings_.look_again) return;
  has_looked_ = true;
  looked_ = loop_.now();
  if (auto stamp = FileStamp::of(settings_.hosts_file); !(stamp == hosts_stamp_)) {
    hosts_stamp_ = std::move(stamp);
    auto text = read_file(settings_.hosts_file, kMostFile);
    hosts_ = text ? parse_hosts(*text) : HostsTable();
  }
  if (auto stamp = FileStamp::of(settings_.resolv_conf); !(stamp == conf_stamp_)) {
    conf_stamp_ = std::move(stamp);
    auto text = read_file(settings_.resolv_conf, kMostFile);
    // While the file is being replaced the servers known so far serve on.
    if (!text && !conf_.servers.empty()) return;
    conf_ = parse_resolv_conf(text ? *text : std::string());
    servers_.clear();  // look-ups under way keep theirs
    std::erase_if(cache_, [](const auto& entry) { return entry.second.addresses.empty(); });
  }
}

const DnsZone* Resolver::zone_of(const std::string& name) const { return zone_in(settings_.zones, name); }

bool Resolver::is_named(const std::string& server) const {
  const auto has = [&](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(), [&](const auto& text) { return with_port(text) == server; });
  };
  return has(conf_.servers) || std::any_of(settings_.zones.begin(), settings_.zones.end(),
                                           [&](const DnsZone& zone) { return has(zone.servers); });
}

// In the order they are written, those that fell silent lately last.
std::vector<std::shared_ptr<DnsServer>> Resolver::servers_for(const std::string& name) {
  const DnsZone* zone = zone_of(name);
  std::vector<std::shared_ptr<DnsServer>> list;
  for (const std::string& text : zone ? zone->servers : conf_.servers)
    list.push_back(server(with_port(text)));
  std::stable_partition(list.begin(), list.end(), [this](const auto& entry) {
    return !entry->is_silent() || loop_.now() - entry->silent_since() > kAvoidSilent;
  });
  if (list.empty()) list.push_back(server("127.0.0.1:53"));
  return list;
}

std::shared_ptr<DnsServer> Resolver::server(const std::string& name) {
  auto& place = servers_[name];
  if (!place) place = std::make_shared<DnsServer>(loop_, name, settings_.try_timeout);
  return place;
}

void Resolver::finished(const std::string& name, Result<std::vector<Address>> result,
                        std::chrono::seconds ttl) {
  const auto running = std::move(running_[name]);
  running_.erase(name);
  if (result) {
    keep(name, {*result, {}, loop_.now() + std::clamp(ttl, kLeastTtl, kMostTtl)});
  } else if (result.error().diagnosis == "dns_not_found") {
    keep(name, {{}, result.error(), loop_.now() + kNegativeTtl});
  } else if (auto old = cache_.find(name); old != cache_.end() && !old->second.addresses.empty() &&
                                           loop_.now() < old->second.expires + kStaleFor) {
    LogLine(LogLevel::warn, "dns_stale").field("name", name).field("err", result.error().message);
    result = old->second.addresses;
  }
  const auto waiting = std::move(running->waiting);
  for (const Waiter& waiter : waiting) {
    waiter->answer(result.ok() ? Result<std::vector<Address>>(*result)
                               : Result<std::vector<Address>>(result.error()));
  }
}

void Resolver::keep(const std::string& name, Cached entry) {
  if (cache_.size() >= kMostCached) {
    std::erase_if(cache_, [this](const auto& old) { return loop_.now() >= old.second.expires; });
  }
  if (cache_.size() >= kMostCached) {
    cache_.erase(std::min_element(cache_.begin(), cache_.end(), [](const auto& a, const auto& b) {
      return a.second.expires < b.second.expires;
    }));
  }
  cache_[name] = std::move(entry);
}

}  // namespace layerd::net
