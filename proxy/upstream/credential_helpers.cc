#include "proxy/upstream/credential_helpers.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "runtime/log.h"

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostRunning = 16;
constexpr std::size_t kMostKept = 512;
constexpr std::chrono::seconds kFailureLifetime{10};
constexpr std::chrono::seconds kFreshFor{5};

using Scope = HelperReply::Scope;

// Two rules with other arguments are two helpers.
std::string helper_key(const HelperRequest& request) {
  std::string key = fmt::format("{}\n{}", static_cast<int>(request.kind), request.helper);
  for (const auto& argument : request.arguments) key += "\n" + argument;
  for (const auto& [name, value] : request.environment) key += fmt::format("\n{}={}", name, value);
  return key;
}

std::string key_of(const HelperRequest& request, Scope scope) {
  const auto helper = helper_key(request);
  switch (scope) {
    case Scope::image:
      return fmt::format("{}\nimage\n{}/{}", helper, request.place.authority(), request.place.path);
    case Scope::registry:
      return fmt::format("{}\nregistry\n{}", helper, request.place.authority());
    case Scope::global:
      break;
  }
  return helper + "\nglobal";
}

// A docker helper is asked about hosts, a plugin of the kubelet about images.
std::string question_of(const HelperRequest& request) {
  return key_of(request, request.kind == registry::HelperKind::docker ? Scope::registry : Scope::image);
}

}  // namespace

struct CredentialHelpers::Waiter final : Pending<HelperAnswer> {
  Waiter(Done<HelperAnswer> done, CredentialHelpers* o, std::string q)
      : Pending<HelperAnswer>(std::move(done)), owner(o), question(std::move(q)) {}
  void on_cancel() noexcept override {
    if (owner != nullptr) owner->leave(question, *this);
  }
  CredentialHelpers* owner;  // null once the answer is posted
  std::string question;
};

CredentialHelpers::~CredentialHelpers() {
  for (auto& [question, run] : running_)
    for (auto& waiter : run.waiters) waiter->owner = nullptr;
}

const CredentialHelpers::Kept* CredentialHelpers::find(const HelperRequest& request) const {
  for (const auto scope : {Scope::image, Scope::registry, Scope::global}) {
    const auto found = kept_.find(key_of(request, scope));
    if (found != kept_.end() && loop_.now() < found->second.until) return &found->second;
  }
  return nullptr;
}

Ticket CredentialHelpers::ask(const HelperRequest& request, Done<HelperAnswer> done) {
  LAYERD_ON_LOOP(loop_);
  const auto* kept = find(request);
  const auto question = question_of(request);
  const auto under_way = running_.find(question);
  if (kept != nullptr || (under_way == running_.end() && running_.size() >= kMostRunning)) {
    Result<HelperAnswer> answer = Error{Errc::overloaded, "too many credential helpers run at the same time"};
    if (kept != nullptr && kept->reply)
      answer = HelperAnswer{pick(*kept->reply, request.place), loop_.now() - kept->since < kFreshFor};
    else if (kept != nullptr)
      answer = kept->reply.error();
    return loop_.post(
        [answer = std::move(answer), done = std::move(done)]() mutable { done(std::move(answer)); });
  }
  auto waiter = std::make_shared<Waiter>(std::move(done), this, question);
  auto& run = running_[question];
  run.waiters.push_back(waiter);
  if (run.waiters.size() == 1 && !run.child.held()) {
    run.request = request;
    run.child = children_.run(command_for(request, environ),
                              [this, question](Result<ChildEnd> end) { on_end(question, std::move(end)); });
  }
  return Ticket(waiter);
}

// The waiters are answered on later stacks: each of them may destroy others, and this.
void CredentialHelpers::on_end(const std::string& question, Result<ChildEnd> end) {
  auto run = std::move(running_.extract(question).mapped());
  const auto reply = read_reply(run.request, end);
  metrics_
      .counter("layerd_credential_helper_runs_total", "Credential helpers run, by result.",
               {{"result", reply ? "ok" : "failed"}})
      .add();
  if (!reply) LogLine(LogLevel::warn, "credential_helper").field("err", reply.error().message);
  keep(run.request, reply);
  const auto answer = reply ? Result<HelperAnswer>(HelperAnswer{pick(*reply, run.request.place), true})
                            : Result<HelperAnswer>(reply.error());
  for (auto& waiter : run.waiters) {
    waiter->owner = nullptr;
    loop_.post_detached([waiter, answer] { waiter->answer(answer); });
  }
}

void CredentialHelpers::keep(const HelperRequest& request, const Result<HelperReply>& reply) {
  const auto now = loop_.now();
  std::erase_if(kept_, [now](const auto& entry) { return now >= entry.second.until; });
  if (kept_.size() >= kMostKept) kept_.clear();
  if (!reply) {
    kept_.insert_or_assign(question_of(request), Kept{reply.error(), now, now + kFailureLifetime});
  } else if (reply->lifetime > Duration::zero()) {
    kept_.insert_or_assign(key_of(request, reply->scope), Kept{*reply, now, now + reply->lifetime});
  }
}

void CredentialHelpers::forget(const HelperRequest& request) {
  for (const auto scope : {Scope::image, Scope::registry, Scope::global}) kept_.erase(key_of(request, scope));
}

void CredentialHelpers::leave(const std::string& question, const Waiter& waiter) noexcept {
  const auto found = running_.find(question);
  if (found == running_.end()) return;
  found->second.waiters.remove_if([&waiter](const auto& other) { return other.get() == &waiter; });
}

}  // namespace layerd::upstream
