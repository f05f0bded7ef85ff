// One node of the simulated site. Only for tests/sim.
#pragma once

#include "proxy/peers/unit_key.h"
#include "proxy/peers/unit_window.h"
#include "tests/sim/sim_site.h"

namespace layerd::sim {

// Bytes as the network brings them, for whoever reads them.
class SimBody final : public http::BodyReader {
 public:
  SimBody(SimLoop& loop, Network& network, FlowPtr flow, std::unique_ptr<peers::Upload> upload);
  ~SimBody() override;
  Ticket read(std::size_t max, Done<Bytes> done) override;
  std::optional<ByteCount> length() const override { return length_; }
  const FlowPtr& flow() const { return flow_; }

 private:
  void answer();
  void watch();
  SimLoop& loop_;
  Network& network_;
  FlowPtr flow_;
  const ByteCount length_;
  std::unique_ptr<peers::Upload> upload_;
  ByteCount waiting_ = 0, taken_ = 0;
  bool broken_ = false;
  std::shared_ptr<Pending<Bytes>> reading_;
  TimePoint last_{};
  Ticket posted_, silence_;
};

// What is here of one unit.
struct SimUnit {
  ByteCount have = 0;
  bool is_bad = false;        // some of it came from a liar
  bool from_upstream = true;  // all of it
  bool is_arrived = false;
  bool is_wanted = false;
  std::unique_ptr<http::BodyReader> body;
  int giver = Network::kWan;  // of the body
  Ticket pending;
  std::vector<std::weak_ptr<Flow>> children;  // flows that this unit feeds
};

class SimDownload {
 public:
  SimDownload(SimNode& node, std::size_t blob);
  ~SimDownload();
  void begin();

  SimNode& node;
  const std::size_t blob;
  bool size_is_known = false;
  std::map<std::uint32_t, SimUnit> units;
  bool is_whole = false;
  unsigned attempts = 1;

  ByteCount have(std::uint32_t unit) const;
  // Up to which byte the blob is here without a gap from `first` on.
  ByteCount here_until(ByteCount first) const;
  // Would what this node gives of the unit be wrong?
  bool is_bad(std::uint32_t unit) const;
  ByteCount begin_of(std::uint32_t unit) const;
  ByteCount end_of(std::uint32_t unit) const;
  std::uint32_t count() const;

 private:
  void more();
  void size_known();
  void find(std::uint32_t unit);
  void found(std::uint32_t unit, peers::UnitSource source);
  void from_wan(std::uint32_t unit);
  void read(std::uint32_t unit);
  void lost(std::uint32_t unit, const Error& why);
  void complete(std::uint32_t unit);
  void all_here();
  void turn_whole();

  std::size_t window() const;
  std::unique_ptr<peers::BlobShare> share_;
  peers::UnitWindow window_;
  ByteCount received_ = 0;
  std::vector<Ticket> heads_;  // of the registry's answers, until the size is known
  Ticket again_;
};

class SimWire final : public peers::Wire {
 public:
  SimWire(SimSite& site, int node) : site_(site), node_(node) {}
  Ticket ask(const peers::Member& to, const peers::Ask& ask, Done<peers::AskAnswer> done) override;
  Ticket probe(const peers::Member& to, const peers::Probe& probe, Done<peers::ProbeAnswer> done) override;
  Ticket who(const peers::Member& to, const peers::Who& who, Done<peers::WhoAnswer> done) override;
  Ticket recall(const peers::Member& to, const peers::Recall& recall,
                Done<peers::RecallAnswer> done) override;
  Ticket tell(const peers::Member& to, const peers::Tell& tell, Done<Ok> done) override;
  Ticket get(const peers::Member& to, const peers::UnitGet& get, Done<peers::UnitAnswer> done) override;

 private:
  template <class T, class Answer>
  Ticket call(const peers::Member& to, Done<T> done, Answer answer);
  SimSite& site_;
  const int node_;
};

class SimShelf final : public peers::Shelf {
 public:
  explicit SimShelf(SimNode& node) : node_(node) {}
  std::optional<Held> held(const peers::BlobName& blob, ByteRange range) override;
  peers::Rights rights(const std::string&, const std::string&) override { return peers::Rights::open; }
  Ticket open(const peers::BlobName& blob, Done<cache::SourcePtr> done) override;
  std::vector<Digest> units(const Digest& digest) override;
  peers::RecallAnswer recall(const peers::Recall&) override { return {}; }
  std::vector<Digest> list(std::optional<Digest> after, std::size_t most) override;

 private:
  SimNode& node_;
};

class SimNode {
 public:
  SimNode(SimSite& site, int number);
  void begin();  // the image
  void stop();
  std::size_t blob_of(const Digest& digest) const;
  void blob_done(std::size_t blob);
  void open_next();
  // Are its bytes of this unit wrong?
  bool gives_bad(std::size_t blob, std::uint32_t unit) const;

  SimSite& site;
  const int number;
  SimWire wire;
  SimShelf shelf;
  std::unique_ptr<peers::Site> peer;
  std::map<std::size_t, std::unique_ptr<SimDownload>> running;
  std::set<std::size_t> complete;
  std::vector<Ticket> ended;  // of downloads that are done
  std::size_t next_blob = 0;
  bool pulls = false;
  unsigned worst_attempts = 1;
};

}  // namespace layerd::sim
