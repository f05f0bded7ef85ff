// The part of `peers` that says who the members are: members, members_file, dns, kubernetes. Blocks: files
// are opened.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

std::vector<Key<Settings>> member_source_keys();

// The node of `key` in the section, else the section itself: where a message about the key points to.
const YamlNode& node_of(const YamlNode& section, std::string_view key);

// `section` is the map behind `peers`, read already. Ports that were left out, and the API server of a
// kubeconfig, whose text `read` gives.
void finish_members(const YamlNode& section, PeersSettings& peers, const ReadText& read,
                    const LoadOptions& options, ConfigReader& reader);

// A warning that a file of `peers` is missing or bad: it costs what `cost` says and nothing else. Where this
// user may not read it and the daemon perhaps may, that is said instead.
void warn_of_file(const YamlNode& at, std::string_view cost, const Error& error, const LoadOptions& options,
                  ConfigReader& reader);

}  // namespace layerd::daemon
