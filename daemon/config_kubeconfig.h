// kubeconfig: the file by which kubectl and others know a cluster, as far as layerd needs it to ask for its
// nodes. Pure.
#pragma once

#include <string>

#include "proxy/peers/members_settings.h"
#include "runtime/result.h"

namespace layerd::daemon {

// context: a name in the file; empty: its current-context. Paths in it count from the file's own folder.
// Fills where the API server is, its CA and the credentials; leaves labels and member_port as they are.
// Errors: config; the sentence names the file, the line where there is one, what is wrong and the remedy. It
// holds no secret.
Result<peers::KubernetesMembers> parse_kubeconfig(const std::string& path, const std::string& text,
                                                  const std::string& context);

}  // namespace layerd::daemon
