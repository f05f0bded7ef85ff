// `layerd config`, and the configuration for the other commands. Blocks; not for the loop.
#pragma once

#include <string>

#include "daemon/settings.h"

namespace layerd::daemon {

// Exit status: 0; 2 when the configuration is wrong (each error with file and line on stderr).
int config_command(const std::string& path, bool path_given, bool check_only, bool markdown);

// Null, with the errors on stderr, when the configuration is wrong.
Result<SettingsPtr> settings_for_command(const std::string& path, bool path_given);

}  // namespace layerd::daemon
