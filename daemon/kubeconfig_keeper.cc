#include "daemon/kubeconfig_keeper.h"

#include "daemon/config_yaml.h"
#include "daemon/peer_files.h"
#include "runtime/guarded_file.h"

namespace layerd::daemon {
namespace {

constexpr Duration kTryAgain = std::chrono::seconds(2), kReadAgain = std::chrono::seconds(10);

}  // namespace

KubeconfigKeeper::KubeconfigKeeper(Loop& loop, Workers& workers, Callback<void()> changed)
    : loop_(loop), workers_(workers), changed_(std::move(changed)) {}

void KubeconfigKeeper::take(SettingsPtr settings) {
  reading_.reset();
  const SettingsPtr before = std::exchange(settings_, std::move(settings));
  const PeersSettings& peers = settings_->peers;
  fault_ = peers.kubeconfig_fault;
  const bool is_same = before && before->peers.kubernetes == peers.kubernetes;
  if (fault_.empty() || !is_same) found_ = peers.members.kubernetes;
  if (!fault_.empty() || !peers.kubernetes.kubeconfig.empty()) read_later();
}

void KubeconfigKeeper::read_later() {
  reading_ = loop_.after(fault_.empty() ? kReadAgain : kTryAgain, "kubeconfig", [this] {
    reading_ = workers_.run<peers::KubernetesMembers>(
        "kubeconfig",
        [settings = settings_] {
          return read_kubernetes(
              settings->peers, [](const std::string& path) { return read_guarded(path, kMostConfigBytes); });
        },
        [this](Result<peers::KubernetesMembers> read) { take_read(std::move(read)); });
  });
}

void KubeconfigKeeper::take_read(Result<peers::KubernetesMembers> read) {
  reading_.reset();
  fault_ = read ? "" : read.error().message;
  read_later();
  if (!read || found_ == *read) return;
  found_ = std::move(*read);
  changed_();
}

std::string KubeconfigKeeper::complaint() const {
  if (fault_.empty()) return "";
  return "peers.kubernetes: " + fault_ + (found_ ? "; what it said before counts" : "");
}

}  // namespace layerd::daemon
