// `dns` of the configuration: fixed addresses, servers for zones, a search list (docs/names.md). Pure.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

// Each replaces what was there. Names are kept in lower case without a dot at the end, servers as
// "10.43.0.10:53" or "[fd00::10]:53", addresses as numbers alone.
void read_dns_hosts(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader);
void read_dns_zones(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader);
void read_dns_search(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader);

// As YAML on one line.
std::string show_dns_hosts(const DnsSettings& dns);
std::string show_dns_zones(const DnsSettings& dns);
std::string show_dns_search(const DnsSettings& dns);

// The names that count as configured because `dns` names them (design.md §3.6).
void add_dns_names(const DnsSettings& dns, registry::RulesInput& out);

}  // namespace layerd::daemon
