// NotedWire: the wire, with what each call teaches about the member noted on the way. Loop thread.
#pragma once

#include "proxy/peers/acquaintances.h"
#include "proxy/peers/coordinator.h"
#include "proxy/peers/wire.h"
#include "runtime/loop.h"

namespace layerd::peers {

class NotedWire final : public Wire {
 public:
  NotedWire(Loop& loop, Wire& wire, Acquaintances& acquaintances, Coordinator& coordinator,
            SiteMetrics& metrics)
      : loop_(loop),
        wire_(wire),
        acquaintances_(acquaintances),
        coordinator_(coordinator),
        metrics_(metrics) {}

  Ticket ask(const Member& to, const Ask& ask, Done<AskAnswer> done) override {
    return wire_.ask(to, ask, noting(to, std::move(done)));
  }
  Ticket probe(const Member& to, const Probe& probe, Done<ProbeAnswer> done) override {
    return wire_.probe(to, probe, noting(to, std::move(done)));
  }
  // A probe whose answer nobody needs: silence is noted for people alone.
  Ticket greet(const Member& to, const Probe& probe, Done<ProbeAnswer> done) {
    return wire_.probe(to, probe,
                       [this, id = to.id, noted = noting<ProbeAnswer>(to, [](const Result<ProbeAnswer>&) {}),
                        done = std::move(done)](Result<ProbeAnswer> how) mutable {
                         if (!how && means_dead(how.error()))
                           acquaintances_.greeted_in_vain(id, how.error());
                         else
                           noted(Result<ProbeAnswer>(how));
                         done(std::move(how));
                       });
  }
  Ticket who(const Member& to, const Who& who, Done<WhoAnswer> done) override {
    return wire_.who(to, who, noting(to, std::move(done)));
  }
  Ticket recall(const Member& to, const Recall& recall, Done<RecallAnswer> done) override {
    return wire_.recall(to, recall, noting(to, std::move(done)));
  }
  Ticket tell(const Member& to, const Tell& tell, Done<Ok> done) override {
    return wire_.tell(to, tell, noting(to, std::move(done)));
  }
  Ticket get(const Member& to, const UnitGet& get, Done<UnitAnswer> done) override {
    // The answer waits for what the member itself waits for: that says nothing of the way there.
    return wire_.get(to, get, noting(to, std::move(done), false));
  }

 private:
  template <class T>
  Done<T> noting(const Member& to, Done<T> done, bool tells_latency = true) {
    metrics_.messages.add();
    // The wire and what is noted outlive every call.
    return [this, id = to.id, began = loop_.now(), tells_latency,
            done = std::move(done)](Result<T> result) mutable {
      const auto now = loop_.now();
      const auto latency = tells_latency ? std::optional<Duration>(now - began) : std::nullopt;
      if (result) {
        acquaintances_.answered(id, latency, now);
      } else if (means_dead(result.error()) || means_refused(result.error())) {
        if (acquaintances_.failed(id, result.error(), now)) coordinator_.book().gone(id);
      } else if (result.error().diagnosis != kNotAsked) {
        acquaintances_.answered(id, latency, now);  // a refusal is an answer
        if (result.error().code == Errc::upstream_protocol) acquaintances_.fault(id, result.error().message);
      }
      done(std::move(result));
    };
  }

  Loop& loop_;
  Wire& wire_;
  Acquaintances& acquaintances_;
  Coordinator& coordinator_;
  SiteMetrics& metrics_;
};

}  // namespace layerd::peers
