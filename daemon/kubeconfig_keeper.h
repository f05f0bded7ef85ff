// KubeconfigKeeper: the API server of peers.kubernetes. Its kubeconfig is read again every 10 s, since the
// watch of the configuration's files does not tell of one in a folder that only root may enter. While it
// cannot be read what it said counts, until another one is configured, and it is tried every 2 s. Loop
// thread.
#pragma once

#include <optional>
#include <string>

#include "daemon/settings.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::daemon {

class KubeconfigKeeper {
 public:
  // changed: found() has become another one, by a reading of ours.
  KubeconfigKeeper(Loop& loop, Workers& workers, Callback<void()> changed);

  // At the start and after a reload: what was found with these settings counts, where something was.
  void take(SettingsPtr settings);
  void stop() { reading_.reset(); }

  const std::optional<peers::KubernetesMembers>& found() const { return found_; }
  // Why it is not what the kubeconfig says now; empty: it is.
  std::string complaint() const;

 private:
  void read_later();
  void take_read(Result<peers::KubernetesMembers> read);

  Loop& loop_;
  Workers& workers_;
  Callback<void()> changed_;
  SettingsPtr settings_;
  std::optional<peers::KubernetesMembers> found_;
  std::string fault_;
  Ticket reading_;
};

}  // namespace layerd::daemon
