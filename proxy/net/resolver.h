// Resolver: host name -> addresses, by c-ares on the loop. Loop thread. Dropping a Ticket leaves the
// look-up to finish for others and for the cache; destroying the Resolver answers nobody.
//
// In order: numeric addresses, the fixed hosts, /etc/hosts, localhost, then DNS: the zone's servers,
// or those of /etc/resolv.conf with its search list. A and AAAA are asked at once, each server by a
// channel of its own; a silent server is passed over after a second and asked last for a while. Both
// files are looked at when somebody asks, at most once a second: two stat calls on the loop, and a
// read of a small file after a change.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/file_stamp.h"
#include "proxy/net/resolver_channel.h"
#include "proxy/net/resolver_files.h"
#include "runtime/uv_loop.h"

namespace layerd::net {

struct DnsZone {
  std::string suffix;                // "cluster.local"
  std::vector<std::string> servers;  // "10.43.0.10" or with a port
};

struct ResolverSettings {
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts_file = "/etc/hosts";
  HostsTable hosts = {};            // fixed addresses, by canonical_name()
  std::vector<DnsZone> zones = {};  // the longest suffix counts; names under a zone are never searched for
  Duration try_timeout =
      std::chrono::seconds(1);  // of the first try at a server; the second waits twice that
  Duration next_server = std::chrono::seconds(1);      // silence after which the next server is asked as well
  Duration look_up_timeout = std::chrono::seconds(8);  // of one look-up in all
  Duration look_again = std::chrono::seconds(1);       // how often the two files are looked at, at most
};

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
  std::vector<std::shared_ptr<DnsServer>> servers_for(const std::string& name);
  std::shared_ptr<DnsServer> server(const std::string& name);
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
