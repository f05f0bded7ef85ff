// The wire between simulated nodes: latency, the dead, the cut off.
#include "tests/sim/sim_node.h"

namespace layerd::sim {

namespace {

template <class T>
struct Call final : Pending<T> {
  using Pending<T>::Pending;
  void on_cancel() noexcept override {
    step.reset();
    inner.reset();
  }
  Ticket step, inner;
};

Error unreachable() { return {Errc::upstream_unreachable, "the member cannot be connected to"}; }

}  // namespace

// There after one latency, back after another; who cannot be reached fails after 250 ms or at once.
template <class T, class Answer>
Ticket SimWire::call(const peers::Member& to, Done<T> done, Answer answer) {
  auto call = std::make_shared<Call<T>>(std::move(done));
  const int target = site_.node_of(to.id);
  const auto latency = seconds(site_.network_.latency());
  auto* self = call.get();
  const auto fail = [self](Duration wait, SimLoop& loop) {
    self->step = loop.after(wait, "", [self] { self->answer(unreachable()); });
  };
  if (target < 0 || !site_.can_reach(node_, target)) {
    const bool silent = target < 0 || site_.silent_[static_cast<std::size_t>(target)] || !site_.side_.empty();
    fail(silent ? std::chrono::milliseconds(250) : 2 * latency, site_.loop_);
    return Ticket(std::move(call));
  }
  self->step =
      site_.loop_.after(latency, "", [this, self, target, fail, answer = std::move(answer)]() mutable {
        if (!site_.can_reach(node_, target)) return fail(std::chrono::milliseconds(250), site_.loop_);
        answer(*self, *site_.nodes_[static_cast<std::size_t>(target)]);
      });
  return Ticket(std::move(call));
}

namespace {

// The answer is at hand and travels back.
template <class T>
void send_back(Call<T>& call, SimLoop& loop, double latency, T answer) {
  call.step = loop.after(seconds(latency), "", [self = &call, answer = std::move(answer)]() mutable {
    self->answer(std::move(answer));
  });
}

}  // namespace

Ticket SimWire::ask(const peers::Member& to, const peers::Ask& ask, Done<peers::AskAnswer> done) {
  ++site_.asks_;
  return call<peers::AskAnswer>(to, std::move(done), [this, ask](auto& call, SimNode& node) {
    send_back(call, site_.loop_, site_.network_.latency(), node.peer->on_ask(site_.id(node_), ask));
  });
}

Ticket SimWire::probe(const peers::Member& to, const peers::Probe& probe, Done<peers::ProbeAnswer> done) {
  ++site_.probes_;
  return call<peers::ProbeAnswer>(to, std::move(done), [this, probe](auto& call, SimNode& node) {
    send_back(call, site_.loop_, site_.network_.latency(), node.peer->on_probe(site_.id(node_), probe));
  });
}

Ticket SimWire::who(const peers::Member& to, const peers::Who& who, Done<peers::WhoAnswer> done) {
  ++site_.others_;
  return call<peers::WhoAnswer>(to, std::move(done), [this, who](auto& call, SimNode& node) {
    send_back(call, site_.loop_, site_.network_.latency(), node.peer->on_who(site_.id(node_), who));
  });
}

Ticket SimWire::recall(const peers::Member& to, const peers::Recall& recall, Done<peers::RecallAnswer> done) {
  ++site_.others_;
  return call<peers::RecallAnswer>(to, std::move(done), [this, recall](auto& call, SimNode& node) {
    send_back(call, site_.loop_, site_.network_.latency(), node.peer->on_recall(site_.id(node_), recall));
  });
}

Ticket SimWire::tell(const peers::Member& to, const peers::Tell& tell, Done<Ok> done) {
  ++site_.tells_;
  return call<Ok>(to, std::move(done), [this, tell](auto& call, SimNode& node) {
    node.peer->on_tell(site_.id(node_), tell);
    send_back(call, site_.loop_, site_.network_.latency(), Ok{});
  });
}

Ticket SimWire::get(const peers::Member& to, const peers::UnitGet& get, Done<peers::UnitAnswer> done) {
  ++site_.gets_;
  const auto begin = [this, get](auto& call, SimNode& node) {
    auto* self = &call;
    self->inner = node.peer->on_get(
        site_.id(node_), get,
        [this, self, get, giver = &node](Result<std::unique_ptr<peers::Upload>> opened) {
          auto& loop = site_.loop_;
          const auto latency = seconds(site_.network_.latency());
          if (!opened) {
            self->step = loop.after(latency, "", [self, why = opened.error()] { self->answer(why); });
            return;
          }
          const auto blob = giver->blob_of(get.unit.blob.digest);
          auto flow = std::make_shared<Flow>();
          flow->src = giver->number;
          flow->dst = node_;
          flow->next = get.range.first;
          flow->end = std::min(get.range.end, (*opened)->total);
          const auto unit = get.unit.unit;
          flow->is_here = [giver, blob, first = flow->next, end = flow->end]() -> ByteCount {
            if (giver->complete.count(blob) != 0) return end;
            const auto at = giver->running.find(blob);
            return at == giver->running.end() ? 0 : at->second->here_until(first);
          };
          const auto at = giver->running.find(blob);
          if (at != giver->running.end()) {
            auto& source = at->second->units[at->second->is_whole ? 0 : unit];
            std::erase_if(source.children, [](const auto& child) { return child.expired(); });
            source.children.push_back(flow);
          }
          peers::UnitAnswer answer;
          answer.total = (*opened)->total;
          answer.range = {flow->next, flow->end};
          answer.rights = (*opened)->rights;
          answer.path = (*opened)->path;
          answer.body = std::make_unique<SimBody>(loop, site_.network_, flow, *std::move(opened));
          site_.began(flow);
          self->step = loop.after(latency, "", [this, self, flow, answer = std::move(answer)]() mutable {
            site_.network_.start(flow);
            self->answer(std::move(answer));
          });
        });
  };
  return call<peers::UnitAnswer>(to, std::move(done), begin);
}

}  // namespace layerd::sim
