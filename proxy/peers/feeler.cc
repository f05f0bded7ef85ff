#include "proxy/peers/feeler.h"

namespace layerd::peers {

void Feeler::wake(const BlobName& blob) {
  blob_ = blob;
  awake_ = parts_.now();
  if (runs_) return;
  runs_ = true;
  timer_ = parts_.loop.after(parts_.settings.feel_every, "peers: feeler", [this] { tick(); });
}

void Feeler::tick() {
  runs_ = false;
  // A pull that began when nobody was alive is not among the shares, and the next one may begin at any time.
  if (parts_.shares.empty() && parts_.now() - awake_ > parts_.settings.feel_on) return;
  runs_ = true;
  timer_ = parts_.loop.after(parts_.settings.feel_every, "peers: feeler", [this] { tick(); });
  const auto id = parts_.acquaintances.next_to_feel(parts_.coordinator.ranking().members(), parts_.now());
  if (!id) return;
  // What it answers is noted by the wire.
  probe_ = parts_.wire.probe(parts_.member(*id), Probe{{blob_, 0, false}}, [](const Result<ProbeAnswer>&) {});
}

}  // namespace layerd::peers
