// `proxy` of the configuration, and the variables that say the same (protocol.md §6.2). Blocks where a
// password file is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

// is_set: the key is there, be it to say that there is no proxy.
void read_proxy(const YamlNode& node, std::string_view key, std::optional<net::Proxy>& out, bool& is_set,
                ConfigReader& reader);
void read_no_proxy(const YamlNode& node, std::string_view key, ProxySettings& out, ConfigReader& reader);
void read_proxy_password(const YamlNode& node, std::string_view key, ProxySettings& out,
                         ConfigReader& reader);

// Keys of `proxy` that contradict each other, or do nothing. root: of the file, all of it read.
void warn_of_proxy(const YamlNode& root, const ProxySettings& proxy, ConfigReader& reader);

// HTTP_PROXY, HTTPS_PROXY and NO_PROXY, lower case where there is no upper, for what the file does not say.
// A value that cannot be used is a warning.
void add_environment(const char* (*environment)(const char* name), ProxySettings& out,
                     std::vector<Problem>& warnings);

// User and password masked.
std::string show_proxy(const std::optional<net::Proxy>& proxy);

}  // namespace layerd::daemon
