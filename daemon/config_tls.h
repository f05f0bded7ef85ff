// The tls keys of `configs`: files are opened and read, so that a wrong one is named with its line before
// it is needed. Blocks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_reader.h"
#include "daemon/config_registries.h"

namespace layerd::daemon {

void read_ca_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader);
void read_ca_dir(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader);
void read_min_version(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader);
// Whichever of the two comes second is told when they do not belong together.
void read_cert_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader);
void read_key_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader);

void read_certs_dirs(const YamlNode& node, std::string_view key, std::vector<std::string>& out,
                     ConfigReader& reader);

}  // namespace layerd::daemon
