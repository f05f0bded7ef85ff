// The keys under which docker, containers and the kubelet keep credentials: a host, a URL, or either
// with a path behind it (protocol.md §4.1, §4.3, §4.4). Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/registry/endpoint.h"

namespace layerd::registry {

inline constexpr std::size_t kMostKeyBytes = 512;

// What is asked for with credentials: a repository at a host.
struct RegistryPlace {
  std::string host;  // lower case, brackets for IPv6; "docker.io" for all of Docker Hub's names
  std::uint16_t port = 443;
  bool is_default_port = true;    // of the scheme
  std::string path;               // the repository as the host has it
  std::string authority() const;  // "reg.example:5000"
};
RegistryPlace place_of(const Endpoint& endpoint);

struct RegistryKey {
  std::string host;  // lower case, brackets for IPv6; "*" stands for any characters within a label
  std::optional<std::uint16_t> port;
  std::string path;  // empty: the whole host
  bool has_wildcard() const { return host.find('*') != std::string::npos; }
};

// "host", "host:port", "host/team/app", "https://host/v1/", "https://index.docker.io/v1/", and
// "*.example.com" as the kubelet takes it. Nothing for what names no host, and for "*" alone.
std::optional<RegistryKey> parse_registry_key(std::string_view text);

enum class KeyFit {
  fits,
  other_host,
  other_port,  // the host is right
  other_path,  // host and port are right
};
// A key without a port means the scheme's own; a path means that repository and all below it.
KeyFit fit(const RegistryKey& key, const RegistryPlace& place);

// It does not fit, but may have been meant: another port or path, or a host of the same domain
// ("registry.cn-hangzhou.aliyuncs.com" for "crpi-1.cn-hangzhou.personal.cr.aliyuncs.com").
bool is_near_miss(const RegistryKey& key, const RegistryPlace& place);

// Of two keys that fit, is `a` the one to take? The longer path, then no wildcard, then the longer host.
bool is_more_particular(const RegistryKey& a, const RegistryKey& b);

}  // namespace layerd::registry
