// Children that are not started: answers by script and keeps every command it was given. Loop thread.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "runtime/children.h"
#include "runtime/loop.h"

namespace layerd::test {

class FakeChildren final : public Children {
 public:
  explicit FakeChildren(Loop& loop) : loop_(loop) {}

  // The next end; the last one given is repeated. Without any: no such program.
  void reply(ChildEnd end, Duration after = {}) { script_.push_back({std::move(end), after}); }
  void reply(std::string output, int status = 0) {
    ChildEnd end;
    end.status = status;
    end.output = std::move(output);
    reply(std::move(end));
  }
  Ticket run(ChildCommand command, Done<ChildEnd> done) override {
    commands_.push_back(std::move(command));
    if (script_.empty())
      return loop_.post([done = std::move(done)]() mutable {
        done(Error{Errc::not_found, "cannot run it: No such file or directory"});
      });
    auto [end, after] = script_.front();
    if (script_.size() > 1) script_.pop_front();
    return loop_.after(after, "fake child",
                       [end = std::move(end), done = std::move(done)]() mutable { done(std::move(end)); });
  }
  const std::vector<ChildCommand>& commands() const { return commands_; }

 private:
  Loop& loop_;
  std::deque<std::pair<ChildEnd, Duration>> script_;
  std::vector<ChildCommand> commands_;
};

}  // namespace layerd::test
