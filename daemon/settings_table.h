// The one table of the configuration's keys. It drives parsing (config.cc), `layerd config`
// (print_settings) and docs/settings.md (settings_markdown). Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

const std::vector<Key<Settings>>& settings_keys();

// For a key that a later version of layerd has: the whole message; "" for any other.
std::string later_key_message(std::string_view path);

// The effective configuration as YAML with every secret masked.
std::string print_settings(const Settings& settings);
// docs/settings.md; a test compares the file with it.
std::string settings_markdown();

}  // namespace layerd::daemon
