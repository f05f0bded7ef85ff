// What the files that `peers` names come to, found out by the code that uses them in the daemon: for
// SitePart, and for who looks at a configuration before. Blocks: files are read.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/settings.h"
#include "proxy/net/peer_trust.h"

namespace layerd::daemon {

// Errors of all of these: config, naming the file and what is wrong with it; sys_errno where it cannot be
// read.

net::PeerIdentitySettings identity_settings(const PeersSettings& peers);
// Would this node share by its secret or certificates?
Result<Ok> check_trust_files(const PeersSettings& peers);

// The API server that peers.kubernetes names, with the labels and the port of members; `read` gives the text
// of the kubeconfig.
Result<peers::KubernetesMembers> read_kubernetes(const PeersSettings& peers, const ReadText& read);
// The token, the CA and the client certificate by which that server is asked.
Result<Ok> check_kubernetes_files(const peers::KubernetesMembers& kubernetes);

Result<Ok> check_members_file(const std::string& path);

// Every file that `peers` names; some are empty.
std::vector<const std::string*> peer_files(const PeersSettings& peers);

}  // namespace layerd::daemon
