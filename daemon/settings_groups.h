// The groups of rows that make up the table of the configuration's keys (settings_table.h), each in a file of
// its own, and what several of them use. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

// In the order of the table; `peers` stands between answer_keys and reach_keys (config_peers.h).
std::vector<Key<Settings>> place_keys();     // registries_file, listen, admin, cache: settings_process.cc
std::vector<Key<Settings>> registry_keys();  // aliases to proxy: settings_registries.cc
std::vector<Key<Settings>> answer_keys();    // tags, access: settings_answers.cc
std::vector<Key<Settings>> reach_keys();     // allow, offline: settings_registries.cc
std::vector<Key<Settings>> limit_keys();     // limits, timeouts: settings_process.cc
std::vector<Key<Settings>> run_keys();       // workers, drain, log: settings_process.cc

// Takes a duration of `least` to `most`; reports any other and leaves `out`.
void apply_duration(const YamlNode& node, std::string_view key, Duration least, Duration most, Duration& out,
                    ConfigReader& reader);
// Takes a list of patterns, as texts and, unless null, compiled; reports each that is none.
void apply_patterns(const YamlNode& node, std::string_view key, std::vector<std::string>& texts,
                    std::vector<registry::Pattern>* compiled, ConfigReader& reader);
// As a YAML list.
std::string show_list(const std::vector<std::string>& texts);

}  // namespace layerd::daemon
