// Reading and showing `access`: who counts as a runtime, and whose credentials count where. Pure.
#pragma once

#include <string>
#include <string_view>

#include "daemon/config_reader.h"
#include "proxy/access_settings.h"

namespace layerd::daemon {

void read_runtime_uids(const YamlNode& node, std::string_view key, proxy::AccessSettings& out,
                       ConfigReader& reader);
std::string show_runtime_uids(const proxy::AccessSettings& access);

void read_require_client(const YamlNode& node, std::string_view key, proxy::AccessSettings& out,
                         ConfigReader& reader);
std::string show_require_client(const proxy::AccessSettings& access);

}  // namespace layerd::daemon
