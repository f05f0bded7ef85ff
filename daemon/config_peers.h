// Reading and showing `peers`: where this node listens for others, how they know each other, who they are and
// what is shared. Blocks: files are opened.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "daemon/config_reader.h"
#include "daemon/settings.h"

namespace layerd::daemon {

// The rows of the table below `peers`.
std::vector<Key<Settings>> peer_keys();
// One entry of peers.share.
struct ShareDraft {
  std::string match;
  bool with_all = true;
};
const std::vector<Key<ShareDraft>>& share_keys();

void read_from_peers(const YamlNode& node, std::string_view key, bool& out, ConfigReader& reader);

// What follows of several keys together: the secret that a listener needs, the API server of a kubeconfig
// (given by `read`), ports that were left out. `root` is the whole file.
// What is wrong with the files it names are warnings, since it costs the sharing alone.
void finish_peers(const YamlNode& root, PeersSettings& peers, const ReadText& read,
                  const LoadOptions& options, ConfigReader& reader);

}  // namespace layerd::daemon
