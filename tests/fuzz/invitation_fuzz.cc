// An invitation, and a kubeconfig: what is taken can be written into a configuration and reads back.
#include <cstdint>

#include "daemon/config_kubeconfig.h"
#include "daemon/invitation.h"
#include "proxy/peers/member_lines.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto read = daemon::parse_invitation(text, WallTime{})) {
    LAYERD_CHECK(read->secret.empty() != read->ca.empty());
    for (const auto& member : read->members) LAYERD_CHECK(peers::parse_member(member, read->port).ok());
    const auto again = daemon::parse_invitation(daemon::invitation_text(*read), WallTime{});
    LAYERD_CHECK(again.ok() && again->members == read->members && again->site == read->site);
  }
  if (const auto cluster = daemon::parse_kubeconfig("/k/config", text, "")) {
    LAYERD_CHECK(!cluster->host.empty() && cluster->port != 0);
  } else {
    LAYERD_CHECK(!cluster.error().message.empty());
  }
  return 0;
}
