#include "proxy/peers/uploads.h"

#include <algorithm>
#include <deque>

#include "proxy/peers/message_fields.h"

namespace layerd::peers {

struct Uploads::State {
  State(Loop& loop_, Acquaintances& acquaintances_, SiteMetrics& metrics_)
      : loop(loop_), acquaintances(acquaintances_), metrics(metrics_) {}

  // How fast this node gave in the best second so far; an old best counts a little less each second.
  void moved(ByteCount bytes) {
    const auto now = loop.now();
    if (now - second_began >= std::chrono::seconds(1)) {
      const std::chrono::duration<double> passed = now - second_began;
      best = std::max(best * 0.995, static_cast<double>(in_second) / passed.count());
      second_began = now;
      in_second = 0;
    }
    in_second += bytes;
  }

  Loop& loop;
  Acquaintances& acquaintances;
  SiteMetrics& metrics;
  // Who was just told that there is a slot may come: each as one of the candidates of somebody.
  unsigned load() {
    const auto now = loop.now();
    while (!promised.empty() && now - promised.front() > std::chrono::milliseconds(50)) promised.pop_front();
    return running + static_cast<unsigned>(promised.size() / kMostSources);
  }

  unsigned running = 0;
  std::deque<TimePoint> promised;
  std::unordered_map<UnitKey, std::vector<std::string>, UnitKeyHash> children;
  TimePoint second_began{};
  ByteCount in_second = 0;
  double best = 0;  // bytes per second
};

// Holds a slot. The site may be gone before it.
class Uploads::Running final : public Upload {
 public:
  Running(std::weak_ptr<State> state, UnitKey key, std::string child)
      : state_(std::move(state)), key_(std::move(key)), child_(std::move(child)) {
    const auto owner = state_.lock();
    ++owner->running;
    owner->children[key_].push_back(child_);
    owner->metrics.uploads.add();
  }
  ~Running() override {
    const auto owner = state_.lock();
    if (!owner) return;
    --owner->running;
    const auto at = owner->children.find(key_);
    at->second.erase(std::find(at->second.begin(), at->second.end(), child_));
    if (at->second.empty()) owner->children.erase(at);
  }
  void moved(ByteCount bytes) override {
    const auto owner = state_.lock();
    if (!owner) return;
    owner->moved(bytes);
    owner->acquaintances.took(child_, bytes);
  }

 private:
  std::weak_ptr<State> state_;
  const UnitKey key_;
  const std::string child_;
};

Uploads::Uploads(Loop& loop, Shelf& shelf, const Streams& streams, Acquaintances& acquaintances,
                 const Speeds& speeds, const SiteSettings& settings, SiteMetrics& metrics,
                 const SharePolicy& may_share)
    : loop_(loop),
      shelf_(shelf),
      streams_(streams),
      speeds_(speeds),
      settings_(settings),
      metrics_(metrics),
      may_share_(may_share),
      state_(std::make_shared<State>(loop, acquaintances, metrics)) {}

Uploads::~Uploads() = default;

unsigned Uploads::running() const { return state_->running; }

std::vector<std::string> Uploads::children_of(const UnitKey& key) const {
  const auto at = state_->children.find(key);
  return at == state_->children.end() ? std::vector<std::string>{} : at->second;
}

ProbeAnswer Uploads::probe(const Probe& probe) const {
  ProbeAnswer answer;
  if (!may_share_(probe.unit.blob.registry, probe.unit.blob.repository)) return answer;
  answer.load = state_->load();
  const auto key = key_of(probe.unit);
  answer.path = streams_.path_of(key);
  answer.path.resize(std::min<std::size_t>(answer.path.size(), 32));
  // A link is taken to be as fast one way as the other: in a slow site nobody has shown yet what it can give.
  answer.rate = static_cast<ByteCount>(std::max(state_->best, speeds_.best_of_all()) / (answer.load + 1.0));
  const auto held = shelf_.held(probe.unit.blob, range_of(probe.unit, std::nullopt));
  if (!held) return answer;
  const auto range = range_of(probe.unit, held->total);
  answer.complete = held->complete || (held->total && held->have >= range.size());
  answer.have = answer.complete && held->total ? range.size() : held->have;
  answer.has_slot = state_->running < settings_.uploads && children_of(key).size() < settings_.children;
  if (answer.has_slot && state_->promised.size() < 1'024) state_->promised.push_back(loop_.now());
  return answer;
}

// Would the asker, or somebody it feeds, be fed by itself?
std::optional<Error> Uploads::circle(const std::string& from, const UnitGet& get) const {
  for (const auto& feeder : streams_.path_of(key_of(get.unit)))
    if (feeder == from || contains(get.path, feeder))
      return Error{Errc::not_found, "this node is fed by " + feeder + " itself"};
  return std::nullopt;
}

std::optional<Error> Uploads::refusal(const std::string& from, const UnitGet& get) const {
  const auto& blob = get.unit.blob;
  if (!may_share_(blob.registry, blob.repository))
    return Error{Errc::denied, blob.key() + " is not shared by this node"};
  const auto whole = range_of(get.unit, std::nullopt);
  if (get.range.empty() || get.range.first < whole.first || get.range.end > whole.end)
    return Error{Errc::range_unsatisfiable, "the range does not lie in the unit"};
  const auto held = shelf_.held(blob, range_of(get.unit, std::nullopt));
  if (!held || (!held->complete && !held->running))
    return Error{Errc::not_found, "this node does not have " + blob.digest.str()};
  if (auto why = circle(from, get)) return why;
  if (state_->running >= settings_.uploads || children_of(key_of(get.unit)).size() >= settings_.children)
    return Error{Errc::overloaded, "this node gives to as many members as it may"};
  return std::nullopt;
}

// From the question to the answer's head.
struct Uploads::Opening final : Pending<std::unique_ptr<Upload>> {
  Opening(std::string from_, UnitGet get_, Done<std::unique_ptr<Upload>> done)
      : Pending(std::move(done)), from(std::move(from_)), get(std::move(get_)) {}
  void on_cancel() noexcept override { stop(); }
  void stop() {
    inner.reset();
    patience.reset();
    upload.reset();
  }
  void end(Error why) {
    stop();
    answer(std::move(why));
  }
  const std::string from;
  const UnitGet get;
  std::unique_ptr<Running> upload;
  bool is_waiting = false;  // for a source of ours
  Ticket inner, patience;
};

Ticket Uploads::open(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done) {
  auto opening = std::make_shared<Opening>(from, get, std::move(done));
  if (auto why = refusal(from, get)) {
    opening->inner = loop_.post([self = opening.get(), why = *std::move(why)] { self->answer(why); });
    return Ticket(std::move(opening));
  }
  opening->upload = std::make_unique<Running>(state_, key_of(get.unit), from);
  // A download that still looks for its own first source may not know the size. The asker does not wait for
  // ever: it thinks that who is silent is dead.
  opening->patience = loop_.after(settings_.size_wait, "peers: upload's size", [self = opening.get()] {
    self->end({Errc::overloaded, self->is_waiting ? "it is not known here yet who brings the unit"
                                                  : "the size of the blob is not known here yet"});
  });
  opening->is_waiting = must_wait(get);
  if (opening->is_waiting) {
    auto& waiting = waiting_[key_of(get.unit)];
    std::erase_if(waiting, [](const auto& one) { return one.expired(); });
    waiting.push_back(opening);
  } else {
    begin(*opening);
  }
  return Ticket(std::move(opening));
}

// Bytes that are here go at once. For others those who ask for them must be told by whom they are fed.
bool Uploads::must_wait(const UnitGet& get) const {
  if (!is_sought_ || !is_sought_(key_of(get.unit))) return false;
  const auto range = range_of(get.unit, std::nullopt);
  const auto held = shelf_.held(get.unit.blob, range);
  return held && !held->complete && range.first + held->have <= get.range.first;
}

void Uploads::settled(const UnitKey& key) {
  const auto at = waiting_.find(key);
  if (at == waiting_.end()) return;
  const auto waiting = std::move(at->second);
  waiting_.erase(at);
  for (const auto& one : waiting) {
    const auto opening = one.lock();
    if (!opening || !opening->wanted()) continue;
    opening->inner = loop_.post([this, self = opening.get()] { begin(*self); });
  }
}

void Uploads::begin(Opening& opening) {
  opening.is_waiting = false;
  opening.upload->rights = shelf_.rights(opening.get.unit.blob.registry, opening.get.unit.blob.repository);
  opening.inner =
      shelf_.open(opening.get.unit.blob, [this, self = &opening](Result<cache::SourcePtr> source) {
        if (!source) return self->end(source.error());
        self->upload->source = *std::move(source);
        self->inner = self->upload->source->size([this, self](Result<ByteCount> total) {
          if (!total) return self->end(total.error());
          // Who feeds us may have changed.
          if (auto why = circle(self->from, self->get)) return self->end(*std::move(why));
          auto upload = std::move(self->upload);
          self->patience.reset();
          upload->path = streams_.path_of(key_of(self->get.unit));
          upload->total = *total;
          self->answer(std::unique_ptr<Upload>(std::move(upload)));
        });
      });
}

}  // namespace layerd::peers
