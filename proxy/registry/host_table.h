// What `configs` says of each host, compiled, and the names that hosts have there. Pure; immutable once made,
// any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/registry/endpoint.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"

namespace layerd::registry {

// Keys of `mirrors` or `configs` that hold a wildcard ("*.example.com"), most particular first.
template <class T>
using PatternList = std::vector<std::pair<Pattern, T>>;

template <class T>
void sort_particular_first(PatternList<T>& list) {
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return a.first.text().size() > b.first.text().size();
  });
}

// "host:port", with brackets for IPv6.
std::string host_port(std::string_view host, std::uint16_t port);
std::string bracketed(std::string_view host);
// "docker.io" for the other names of its API, else the name itself.
std::string hub_name(std::string name);
// A key without a port stands for these.
inline bool is_default_port(std::uint16_t port) { return port == 443 || port == 80; }

// Is anything set at all?
bool says_something(const HostSettings& settings);

class HostTable {
 public:
  HostTable() = default;
  // By endpoint host[:port], registry name, pattern, or "*". Errors: config, naming the key.
  static Result<HostTable> make(std::map<std::string, HostSettingsPtr> configs);

  // What it says of a host under its own name; null if it names it nowhere but in "*".
  HostSettingsPtr named(std::string_view host, std::uint16_t port) const;
  // The endpoint's own entry, then the registry's, then that of "*"; never null. `configured`: as of_any().
  HostSettingsPtr of_endpoint(const Url& base, const RegistryName& registry, bool configured) const;
  // What "*" says; never null. Its credentials are for hosts that the configuration names: a client chooses
  // ns freely.
  HostSettingsPtr of_any(bool configured) const;

 private:
  std::map<std::string, HostSettingsPtr> exact_;
  PatternList<HostSettingsPtr> patterns_;
  HostSettingsPtr any_;      // of "*"
  HostSettingsPtr any_tls_;  // the same without credentials and client certificate
  HostSettingsPtr none_ = std::make_shared<const HostSettings>();
};

}  // namespace layerd::registry
