// Resolver: host name -> addresses, by c-ares on the loop. Loop thread. Dropping a Ticket leaves the
// look-up to finish for others and for the cache; destroying the Resolver answers nobody.
//
// In order: numeric addresses, the fixed hosts, /etc/hosts, localhost, then DNS: the zone's servers,
// or those of /etc/resolv.conf with its search list or ours. A and AAAA are asked at once, each server by a
// channel of its own; a silent server is passed over after a second and asked last for a while. Both
// files are looked at when somebody asks, at most once a second: two stat calls on the loop, and a
// read of a small file after a change.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/dns_report.h"
#include "proxy/net/file_stamp.h"
#include "proxy/net/resolver_channel.h"
#include "proxy/net/resolver_settings.h"
#include "runtime/uv_loop.h"

namespace layerd::net {

class Lookup;

class Resolver {
 public:
  Resolver(UvLoop& loop, ResolverSettings settings);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // At least one address, port 0, in the order the source gave them.
  // Errors: upstream_unreachable with diagnosis dns_not_found (no such name, or no address for it),
  // dns_timeout (no server answered), dns_failed (SERVFAIL, REFUSED, nonsense); the sentence names the
  // servers. When no server gives an answer, one that has run out less than an hour ago is used.
  Ticket lookup(const std::string& host, Done<std::vector<Address>> done);
  // Asks every server there is for the name, past the cache and leaving no trace, for who explains it. Names
  // that are no host names are reported as not found. No errors.
  Ticket inquire(const std::string& host, Done<DnsReport> done);
  // All records of one type, past the cache: who asks keeps to the TTL of the answer. The name is looked for
  // as by lookup(), for addresses in the fixed hosts and /etc/hosts too, whose TTL is a minute. outcome:
  // found. Errors: as lookup(); dns_not_found where there is no such record.
  Ticket records(const std::string& host, DnsType type, Done<DnsAnswer> done);
  // Would lookup() ask DNS for it? Not for addresses, fixed hosts, /etc/hosts and localhost.
  bool is_asked_in_dns(const std::string& host) {
    refresh();
    return !known(host);
  }
  // From now on. Cached answers stay for the names that would be asked for as before; look-ups under way
  // for the others begin again. Not from within a callback of lookup().
  void set(ResolverSettings settings);

  std::size_t cached() const { return cache_.size(); }

 private:
  friend class Lookup;
  using Waiter = std::shared_ptr<Pending<std::vector<Address>>>;
  struct Cached {
    std::vector<Address> addresses;  // empty: the name does not exist, and `error` says so
    Error error;
    TimePoint expires;
  };

  std::optional<std::vector<Address>> known(const std::string& host);
  std::optional<Result<std::vector<Address>>> cached(const std::string& name);
  void refresh();
  const DnsZone* zone_of(const std::string& name) const;
  std::vector<std::string> candidates_for(const std::string& host) const;
  void begin(const std::string& key, std::vector<Waiter> waiting);
  std::vector<std::shared_ptr<DnsServer>> servers_for(const std::string& name);
  std::shared_ptr<DnsServer> server(const std::string& name);
  bool is_named(const std::string& server) const;
  void finished(const std::string& name, Result<std::vector<Address>> result, std::chrono::seconds ttl);
  void keep(const std::string& name, Cached entry);

  UvLoop& loop_;
  ResolverSettings settings_;
  ResolvConf conf_;
  HostsTable hosts_;
  FileStamp conf_stamp_, hosts_stamp_;
  TimePoint looked_{};
  bool has_looked_ = false;
  std::map<std::string, std::shared_ptr<DnsServer>> servers_;
  std::map<std::string, Cached> cache_;
  std::map<std::string, std::unique_ptr<Lookup>> running_;
};

}  // namespace layerd::net
