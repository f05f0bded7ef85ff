// The stand-ins for the download, the shelf and bodies.
#include "tests/sim/sim_node.h"

namespace layerd::sim {

using namespace std::chrono_literals;

namespace {

constexpr Duration kSilence = 10s;

}  // namespace

// ---- bodies
// -------------------------------------------------------------------------------------------------

SimBody::SimBody(SimLoop& loop, Network& network, FlowPtr flow, std::unique_ptr<peers::Upload> upload)
    : loop_(loop),
      network_(network),
      flow_(std::move(flow)),
      length_(flow_->end - flow_->next),
      upload_(std::move(upload)) {
  flow_->arrived = [this](ByteCount bytes) {
    waiting_ += bytes;
    last_ = loop_.now();
    answer();
  };
  flow_->broken = [this] {
    broken_ = true;
    answer();
  };
  if (upload_) flow_->sent = [this](ByteCount bytes) { upload_->moved(bytes); };
}

SimBody::~SimBody() {
  network_.stop(flow_);
  flow_->arrived = nullptr;
  flow_->broken = nullptr;
  flow_->sent = nullptr;
}

// As the wire does it: a body that is silent for 10 s while somebody waits for it has ended.
void SimBody::watch() {
  silence_ = loop_.after(last_ + kSilence - loop_.now(), "", [this] {
    const bool is_awaited = reading_ && reading_->wanted();
    if (!is_awaited) last_ = loop_.now();
    if (loop_.now() - last_ < kSilence) return watch();
    broken_ = true;
    answer();
  });
}

Ticket SimBody::read(std::size_t, Done<Bytes> done) {
  reading_ = std::make_shared<Pending<Bytes>>(std::move(done));
  Ticket ticket(reading_);
  if (!silence_.held()) {
    last_ = loop_.now();
    watch();
  }
  if (waiting_ > 0 || broken_ || taken_ == length_) posted_ = loop_.post([this] { answer(); });
  return ticket;
}

void SimBody::answer() {
  if (!reading_ || !reading_->wanted()) return;
  if (waiting_ == 0 && !broken_ && taken_ < length_) return;
  const auto reading = std::move(reading_);
  if (waiting_ == 0 && broken_) return reading->answer(Error{Errc::upstream_unreachable, "reset"});
  Bytes bytes(waiting_);
  taken_ += std::exchange(waiting_, 0);
  reading->answer(std::move(bytes));
}

// ---- the download
// -------------------------------------------------------------------------------------------

SimDownload::SimDownload(SimNode& node_, std::size_t blob_) : node(node_), blob(blob_) {}

SimDownload::~SimDownload() {
  for (auto& [number, unit] : units) {
    unit.pending.reset();
    unit.body.reset();
  }
}

ByteCount SimDownload::begin_of(std::uint32_t unit) const { return is_whole ? 0 : unit * peers::kUnit; }
ByteCount SimDownload::end_of(std::uint32_t unit) const {
  const auto size = node.site.blobs_[blob].size;
  return is_whole ? size : std::min(size, (unit + ByteCount{1}) * peers::kUnit);
}
std::uint32_t SimDownload::count() const {
  if (is_whole) return 1;
  return static_cast<std::uint32_t>((node.site.blobs_[blob].size + peers::kUnit - 1) / peers::kUnit);
}

ByteCount SimDownload::have(std::uint32_t unit) const {
  const auto at = units.find(unit);
  return at == units.end() ? 0 : at->second.have;
}

ByteCount SimDownload::here_until(ByteCount first) const {
  const std::uint32_t unit = is_whole ? 0 : peers::unit_of(first);
  return std::max(first, begin_of(unit) + have(unit));
}

bool SimDownload::is_bad(std::uint32_t unit) const {
  const auto at = units.find(unit);
  return at != units.end() && at->second.is_bad;
}

void SimDownload::begin() {
  const auto& name = node.site.blobs_[blob].name;
  share_ = node.peer->begin(name, peers::Rights::open);
  if (share_ && size_is_known) share_->sized(node.site.blobs_[blob].size);
  if (share_ && node.site.scenario_.coordinators_fetch)
    share_->when_wanted([this](std::uint32_t unit) {
      auto& one = units[unit];
      if (is_whole || one.is_arrived || one.is_wanted) return;
      one.is_wanted = true;
      find(unit);
    });
  if (share_)
    share_->when_taken([this](std::uint32_t unit) {
      auto& one = units[unit];
      if (one.is_arrived || one.giver != Network::kWan || !one.body) return;
      one.pending.reset();
      one.body.reset();
      share_->handed_over(unit);
      find(unit);
    });
  more();
}

void SimDownload::size_known() {
  if (std::exchange(size_is_known, true)) return;
  if (share_) share_->sized(node.site.blobs_[blob].size);
}

std::size_t SimDownload::window() const {
  const auto fixed = node.site.scenario_.window;
  return fixed > 0 ? fixed : window_.size();
}

void SimDownload::more() {
  std::size_t wanted = 0, running = 0, left = 0;
  for (std::uint32_t unit = 0; unit < count(); ++unit) {
    const auto at = units.find(unit);
    left += at == units.end() || !at->second.is_arrived;
    running += at != units.end() && at->second.is_wanted && !at->second.is_arrived;
  }
  // As the real one: ticked often, and always before it is used. A unit less runs at this moment.
  window_.tick(node.site.loop_.now(), received_, running + 1, left);
  std::vector<std::uint32_t> now;
  for (std::uint32_t unit = 0; unit < count() && wanted < window(); ++unit) {
    auto& one = units[unit];
    if (one.is_arrived) continue;
    ++wanted;
    if (one.is_wanted) continue;
    one.is_wanted = true;
    now.push_back(unit);
  }
  for (const auto unit : now) find(unit);
  if (wanted == 0) all_here();
}

void SimDownload::find(std::uint32_t unit) {
  if (!share_) return from_wan(unit);
  auto& one = units[unit];
  one.pending = share_->find(unit, {begin_of(unit) + one.have, end_of(unit)},
                             [this, unit](Result<peers::UnitSource> source) {
                               if (source) return found(unit, *std::move(source));
                               LAYERD_CHECK(share_->is_whole() && !is_whole);
                               turn_whole();
                             });
}

void SimDownload::turn_whole() {
  std::vector<std::weak_ptr<Flow>> children;
  for (auto& [number, unit] : units) {
    unit.pending.reset();
    unit.body.reset();
    children.insert(children.end(), unit.children.begin(), unit.children.end());
  }
  units.clear();
  is_whole = true;
  units[0].children = std::move(children);  // they get what the whole brings
  again_ = node.site.loop_.post([this] { more(); });
}

void SimDownload::found(std::uint32_t unit, peers::UnitSource source) {
  if (source.from == peers::UnitSource::From::upstream) return from_wan(unit);
  auto& one = units[unit];
  size_known();
  one.from_upstream = false;
  one.giver = node.site.node_of(source.member);
  one.body = std::move(source.body);
  read(unit);
}

void SimDownload::from_wan(std::uint32_t unit) {
  auto& site = node.site;
  auto& one = units[unit];
  if (site.scenario_.wan_is_cut) {
    one.pending = site.loop_.after(200ms, "", [this, unit] {
      lost(unit, {Errc::upstream_unreachable, "cut"});
    });
    return;
  }
  if (site.scenario_.wan_ignores_range && !is_whole && share_) {
    one.pending = site.loop_.after(seconds(site.scenario_.links.wan_rtt), "", [this] {
      share_->whole_only();
      turn_whole();
    });
    return;
  }
  if (site.scenario_.wan_ignores_range) one.have = 0;  // from the beginning again
  if (one.have == 0) one.from_upstream = true;
  one.giver = Network::kWan;
  auto flow = std::make_shared<Flow>();
  flow->src = Network::kWan;
  flow->dst = node.number;
  flow->next = begin_of(unit) + one.have;
  flow->end = end_of(unit);
  one.body = std::make_unique<SimBody>(site.loop_, site.network_, flow, nullptr);
  site.network_.start(flow);
  // The head of the registry's answer says how long the blob is, long before the bytes have their turn.
  if (!size_is_known)
    heads_.push_back(site.loop_.after(site.network_.head_after(*flow), "", [this] { size_known(); }));
  read(unit);
}

void SimDownload::read(std::uint32_t unit) {
  auto& one = units[unit];
  one.pending = one.body->read(1 << 30, [this, unit](Result<Bytes> bytes) {
    if (!bytes) return lost(unit, bytes.error());
    auto& got = units[unit];
    if (got.giver == Network::kWan) size_known();
    if (got.giver != Network::kWan && bytes->size() > 0)
      got.is_bad = got.is_bad || node.site.nodes_[static_cast<std::size_t>(got.giver)]->gives_bad(blob, unit);
    got.have += bytes->size();
    received_ += bytes->size();
    if (share_) share_->progress(unit, got.have);
    for (const auto& child : got.children)
      if (const auto flow = child.lock()) node.site.network_.kick(flow);
    if (begin_of(unit) + got.have >= end_of(unit)) return complete(unit);
    if (bytes->empty()) return lost(unit, {Errc::truncated, "short"});
    read(unit);
  });
}

void SimDownload::lost(std::uint32_t unit, const Error& why) {
  auto& one = units[unit];
  one.body.reset();
  if (share_) share_->failed(unit, why);
  one.pending =
      node.site.loop_.after(why.code == Errc::canceled ? 0ms : 20ms, "", [this, unit] { find(unit); });
}

void SimDownload::complete(std::uint32_t unit) {
  auto& one = units[unit];
  const auto& right = node.site.blobs_[blob].units;
  one.body.reset();
  auto hash = is_whole ? node.site.blobs_[blob].name.digest : right[unit];
  const bool is_lie = node.site.scenario_.liars_claim && node.site.scenario_.liars.count(node.number) != 0 &&
                      one.from_upstream;
  if (one.is_bad || is_lie) hash = digest_of(DigestAlgorithm::sha256, "wrong " + hash.hex());
  if (share_ && !share_->arrived(unit, hash, one.from_upstream)) {
    one.have = 0;
    one.is_bad = false;
    one.from_upstream = true;
    one.pending = node.site.loop_.post([this, unit] { find(unit); });
    return;
  }
  one.is_arrived = true;
  more();
}

void SimDownload::all_here() {
  bool is_bad = false;
  for (const auto& [number, unit] : units) is_bad = is_bad || unit.is_bad;
  if (!is_bad) {
    if (share_) share_->verified(is_whole ? std::vector<Digest>{} : node.site.blobs_[blob].units);
    return node.blob_done(blob);
  }
  ++attempts;
  if (share_) share_->mismatched();
  share_.reset();
  for (auto& [number, unit] : units)
    for (auto& child : unit.children)
      if (const auto flow = child.lock(); flow && flow->broken) flow->broken();
  units.clear();
  again_ = node.site.loop_.after(10ms, "", [this] { begin(); });
}

// ---- the shelf
// ----------------------------------------------------------------------------------------------

std::optional<peers::Shelf::Held> SimShelf::held(const peers::BlobName& blob, ByteRange range) {
  const auto index = node_.blob_of(blob.digest);
  const auto size = node_.site.blobs_[index].size;
  Held held;
  if (node_.complete.count(index) != 0) {
    held.complete = true;
    held.total = size;
    held.have = std::min(range.end, size) - std::min(range.first, size);
    return held;
  }
  const auto at = node_.running.find(index);
  if (at == node_.running.end()) return std::nullopt;
  held.running = true;
  if (at->second->size_is_known) held.total = size;
  held.have = std::min(at->second->here_until(range.first), range.end) - range.first;
  return held;
}

Ticket SimShelf::open(const peers::BlobName& blob, Done<cache::SourcePtr> done) {
  struct Bytes_ final : cache::Source {
    Bytes_(SimLoop& loop_, SimNode& node_, std::size_t blob_) : loop(loop_), node(node_), blob(blob_) {}
    Ticket size(Done<ByteCount> done_) override {
      auto pending = std::make_shared<Pending<ByteCount>>(std::move(done_));
      wait(pending);
      return Ticket(std::move(pending));
    }
    void wait(std::shared_ptr<Pending<ByteCount>> pending) {
      const auto at = node.running.find(blob);
      const bool known =
          node.complete.count(blob) != 0 || (at != node.running.end() && at->second->size_is_known);
      timer = loop.after(known ? 0ms : 2ms, "", [this, known, pending] {
        if (known) return pending->answer(node.site.blobs_[blob].size);
        wait(pending);
      });
    }
    Ticket read(ByteCount, ByteCount, Done<Bytes>) override { return {}; }
    SimLoop& loop;
    SimNode& node;
    std::size_t blob;
    Ticket timer;
  };
  auto pending = std::make_shared<Pending<cache::SourcePtr>>(std::move(done));
  auto source = std::make_shared<Bytes_>(node_.site.loop_, node_, node_.blob_of(blob.digest));
  node_.site.loop_.post_detached([pending, source] { pending->answer(cache::SourcePtr(source)); });
  return Ticket(std::move(pending));
}

std::vector<Digest> SimShelf::units(const Digest& digest) {
  const auto index = node_.blob_of(digest);
  return node_.complete.count(index) != 0 ? node_.site.blobs_[index].units : std::vector<Digest>{};
}

std::vector<Digest> SimShelf::list(std::optional<Digest> after, std::size_t most) {
  std::set<Digest> all;
  for (const auto blob : node_.complete) all.insert(node_.site.blobs_[blob].name.digest);
  std::vector<Digest> digests;
  for (const auto& digest : all)
    if ((!after || digest > *after) && digests.size() < most) digests.push_back(digest);
  return digests;
}

}  // namespace layerd::sim
