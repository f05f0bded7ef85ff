#include "proxy/access_gate.h"

#include <fmt/core.h>

#include "proxy/answers.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;
using registry::RouteKind;

AskedObject object_of(const Asked& asked) {
  AskedObject object{upstream::Kind::manifest, asked.route.reference, asked.route.query};
  if (asked.route.kind == RouteKind::blob) object.kind = upstream::Kind::blob;
  if (asked.route.kind == RouteKind::tags) object.kind = upstream::Kind::tags;
  if (asked.route.kind == RouteKind::referrers) object.kind = upstream::Kind::referrers;
  return object;
}

bool is_list(const Asked& asked) {
  return asked.route.kind == RouteKind::tags || asked.route.kind == RouteKind::referrers;
}

AskedPtr with_target(const Asked& asked, registry::TargetPtr target) {
  auto other = std::make_shared<Asked>(asked);
  other->target = std::move(target);
  return other;
}

// A client's credentials go to the registry they are for, over TLS, and nowhere else.
Result<registry::TargetPtr> as_client(const Asked& asked, registry::AskAs client) {
  const auto& base = *asked.base;
  const auto refusal = [&](std::string why) {
    Error error{Errc::denied,
                fmt::format("the client's credentials for {} are not sent on: {}", asked.key, why)};
    error.diagnosis = "credentials_withheld";
    return error;
  };
  if (registry::is_docker_hub(base.ns) && !registry::is_docker_hub(base.registry))
    return refusal(
        fmt::format("they are Docker Hub's, and an alias leads to {}; give layerd credentials of "
                    "its own by configs: {{\"{}\": {{auth: …}}}}",
                    base.registry, base.registry));
  auto target = std::make_shared<registry::Target>(base);
  std::erase_if(target->endpoints, [](const registry::Endpoint& endpoint) {
    return !endpoint.is_own || endpoint.base.scheme != "https";
  });
  if (target->endpoints.empty())
    return refusal(fmt::format("{} is configured without TLS, or with mirrors and without its own address",
                               base.registry));
  target->as = std::move(client);
  return registry::TargetPtr(std::move(target));
}

Error needs_credentials(const Asked& asked) {
  Error error{Errc::denied, fmt::format("{} gives {} to who has credentials, and the client gave none",
                                        asked.target->registry, asked.target->repository)};
  error.diagnosis = "credentials_missing";
  return error;
}

// What the layers below add to upstream's words about the node's credentials (proxy/upstream).
std::string_view our_words(std::string_view message) {
  auto begin = message.size();
  for (const char* words :
       {"; no credentials are configured for ", " to the credentials of ", "; the credentials for "})
    begin = std::min(begin, message.find(words));
  return message.substr(std::min(begin, message.size()));
}

// What no handler came to note.
void note_kind(http::Exchange& exchange, const Asked& asked) {
  note_object(exchange, is_list(asked) ? "relay" : registry::name_of(asked.route.kind), asked);
}

bool is_refusal(const Error& error) { return error.code == Errc::denied || error.may_be_hidden; }

}  // namespace

Error said_of_unlinked(const Asked& asked, const Error& error) {
  if (error.code != Errc::not_found && error.code != Errc::denied) return error;
  Error told = error;
  told.status = 0;
  told.message = fmt::format("{} {} {} of {}{}", asked.target->registry,
                             error.code == Errc::denied ? "refuses" : "does not have", asked.route.reference,
                             asked.target->repository, our_words(error.message));
  return told;
}

// One request on its way through, and what was found out about it so far.
struct Access::Passage {
  MirrorSettingsPtr settings;
  http::Exchange* exchange;
  AskedPtr asked;
  ServeAllowed next;
  std::optional<Result<RepositoryClass>> learned = {};
  std::optional<Result<Ok>> tested = {};
};

// A request that waits for an answer about its rights; then the handler that serves it.
class Access::Gate final : public http::Handler {
 public:
  Gate(Access& access, Passage passage) : access_(access), passage_(std::move(passage)) {}

  Passage& passage() { return passage_; }
  void hold(Ticket pending) { pending_ = std::move(pending); }
  // Call it last: the answer may come at once and destroy us.
  void resume() {
    const std::weak_ptr<char> life = life_;
    auto inner = access_.decide(std::move(passage_));
    if (!life.expired()) inner_ = std::move(inner);
  }

 private:
  Access& access_;
  Passage passage_;
  std::shared_ptr<char> life_ = std::make_shared<char>();
  std::unique_ptr<http::Handler> inner_;
  Ticket pending_;
};

Access::Access(const MirrorParts& parts)
    : parts_(parts), classes_(parts), grants_(parts), handles_(parts.key) {}

void Access::use(const AccessSettings& settings) {
  grants_.keep_for(std::max(settings.grant, settings.offline_grace));
}

std::optional<bool> Access::is_runtime(const AccessSettings& settings, http::Exchange& exchange) const {
  auto& slot = exchange.owner();
  if (!slot.was_looked_for) slot = {true, parts_.owners.find(exchange.peer(), exchange.local())};
  if (!slot.owner || !settings.is_runtime_uid(slot.owner->uid)) return false;
  // A group that cannot be read may be a pod's: not to know is not to be outside of pods.
  const auto kind = parts_.cgroups.kind(slot.owner->cgroup);
  return kind ? std::optional(*kind == net::CgroupKind::plain) : std::nullopt;
}

// Would it be a runtime if its cgroup could be read?
bool Access::is_unreadable(const AccessSettings& settings, http::Exchange& exchange) const {
  const auto& owner = exchange.owner().owner;
  return owner && settings.is_runtime_uid(owner->uid) &&
         parts_.cgroups.kind(owner->cgroup) == net::CgroupKind::unreadable;
}

// Who is none of this node's runtimes gets what anybody would get from upstream.
AskedPtr Access::as_node(const AccessSettings& settings, const AskedPtr& asked, bool is_asker_runtime) const {
  const bool is_node = is_asker_runtime && !settings.requires_client(asked->key);
  return is_node ? asked : with_target(*asked, as_nobody(*asked->base));
}

AskedPtr Access::pass_at_once(const MirrorSettings& settings, http::Exchange& exchange,
                              const AskedPtr& asked) {
  const auto is_asker_runtime = is_runtime(settings.access, exchange);
  if (!is_asker_runtime) return nullptr;
  const auto known = classes_.of(settings.access, asked->key);
  const bool may_pass = known.repository_class == RepositoryClass::open ||
                        (known.repository_class == RepositoryClass::node && *is_asker_runtime);
  if (!may_pass) return nullptr;
  auto allowed = as_node(settings.access, asked, *is_asker_runtime);
  if (known.is_old && !settings.offline)
    classes_.used(settings.access, as_node(settings.access, asked, true)->target, object_of(*asked));
  return allowed;
}

std::unique_ptr<http::Handler> Access::pass(MirrorSettingsPtr settings, http::Exchange& exchange,
                                            AskedPtr asked, ServeAllowed next) {
  return decide({std::move(settings), &exchange, std::move(asked), std::move(next)});
}

std::unique_ptr<http::Handler> Access::decide(Passage passage) {
  const auto is_asker_runtime = is_runtime(passage.settings->access, *passage.exchange);
  if (is_asker_runtime) return decide_for(std::move(passage), *is_asker_runtime);
  const auto cgroup = passage.exchange->owner().owner->cgroup;
  auto gate = std::make_unique<Gate>(*this, std::move(passage));
  gate->hold(parts_.cgroups.look_up(cgroup, [gate = gate.get()](auto) { gate->resume(); }));
  return gate;
}

std::unique_ptr<http::Handler> Access::decide_for(Passage passage, bool is_asker_runtime) {
  auto& exchange = *passage.exchange;
  const Asked& asked = *passage.asked;
  if (passage.learned && !*passage.learned) {
    refuse_unknown(passage.settings->access, exchange, asked, passage.learned->error(), is_asker_runtime);
    return nullptr;
  }
  // The registry did not answer about the client's credentials: it is not asked for the class on top of that.
  if (passage.tested && !*passage.tested && !is_refusal(passage.tested->error())) {
    refuse(exchange, asked, passage.tested->error(), "upstream");
    return nullptr;
  }
  Presentation given;
  if (is_asker_runtime) given = handles_.read(exchange.request().headers, asked.key, parts_.loop.wall_now());
  const auto question = question_of(passage, is_asker_runtime, given.presented);
  switch (rule(question)) {
    case Ruling::go:
      return go(std::move(passage), is_asker_runtime);
    case Ruling::learn:
      return learn(std::move(passage), is_asker_runtime);
    case Ruling::challenge:
      note_kind(exchange, asked);
      challenge(exchange, &asked, given.presented == Presented::unknown, classes_.refusal_of(asked.key));
      return nullptr;
    case Ruling::refuse_asker:
      refuse_asker(passage.settings->access, exchange, asked);
      return nullptr;
    case Ruling::refuse_nothing:
      refuse_nothing(*passage.settings, exchange, asked);
      return nullptr;
    case Ruling::test:
    case Ruling::go_as_client:
    case Ruling::refuse_given:
      break;  // it depends on what was given
  }
  return decide_given(std::move(passage), question, std::move(given));
}

AccessQuestion Access::question_of(const Passage& passage, bool is_asker_runtime, Presented presented) {
  const auto& access = passage.settings->access;
  const Asked& asked = *passage.asked;
  const auto known = classes_.of(access, asked.key);
  AccessQuestion question;
  question.repository_class = passage.learned ? **passage.learned : known.repository_class;
  question.was_learned = passage.learned.has_value();
  question.requires_client = access.requires_client(asked.key);
  question.is_only_hidden = known.is_only_hidden;
  question.is_runtime = is_asker_runtime;
  question.presented = presented;
  question.is_known_here = asked.digest ? parts_.catalog.link(asked.key, *asked.digest).has_value()
                                        : parts_.catalog.tag(asked.key, asked.route.reference).has_value();
  const bool may_ask = is_asker_runtime && !passage.settings->offline && !passage.learned;
  if (!may_ask || question.repository_class != RepositoryClass::client) return question;
  if (known.is_old) classes_.used(access, as_node(access, passage.asked, true)->target, object_of(asked));
  // The configuration has changed: the node itself may have the right by now.
  if (presented != Presented::given && classes_.is_doubtful(asked.key))
    question.repository_class = RepositoryClass::unknown;
  return question;
}

std::unique_ptr<http::Handler> Access::decide_given(Passage passage, AccessQuestion question,
                                                    Presentation given) {
  const auto& access = passage.settings->access;
  const AskedPtr asked = passage.asked;
  auto client = as_client(*asked, handles_.as_client(std::move(given.credentials)));
  if (!client) {
    refuse(*passage.exchange, *asked, client.error(), "withheld");
    return nullptr;
  }
  if (passage.tested && !*passage.tested) {
    refuse(*passage.exchange, *asked, passage.tested->error(), "upstream");
    return nullptr;
  }
  const auto standing = grants_.standing(access, **client, object_of(*asked));
  question.right = passage.tested ? Right::granted : standing.right;
  const Ruling ruling = rule(question);
  if (ruling == Ruling::test) return test(std::move(passage), std::move(*client));
  if (ruling == Ruling::refuse_given) {
    refuse(*passage.exchange, *asked, *standing.why, "upstream");
    return nullptr;
  }
  return passage.next(with_target(*asked, std::move(*client)));
}

std::unique_ptr<http::Handler> Access::go(Passage passage, bool is_asker_runtime) {
  return passage.next(as_node(passage.settings->access, passage.asked, is_asker_runtime));
}

std::unique_ptr<http::Handler> Access::learn(Passage passage, bool is_asker_runtime) {
  const auto target = as_node(passage.settings->access, passage.asked, true)->target;
  const auto object = object_of(*passage.asked);
  auto gate = std::make_unique<Gate>(*this, std::move(passage));
  gate->hold(
      classes_.learn(target, object, !is_asker_runtime, [gate = gate.get()](Result<RepositoryClass> learned) {
        gate->passage().learned = std::move(learned);
        gate->resume();
      }));
  return gate;
}

std::unique_ptr<http::Handler> Access::test(Passage passage, registry::TargetPtr client) {
  const auto settings = passage.settings;
  const auto object = object_of(*passage.asked);
  auto gate = std::make_unique<Gate>(*this, std::move(passage));
  gate->hold(grants_.test(settings->access, client, object, [gate = gate.get()](Result<Ok> tested) {
    gate->passage().tested = std::move(tested);
    gate->resume();
  }));
  return gate;
}

void Access::refuse(http::Exchange& exchange, const Asked& asked, const Error& error, const char* why) {
  parts_.metrics
      .counter("layerd_access_refused_total", "Requests refused for want of rights, by what was wanting.",
               {{"why", why}})
      .add();
  note_kind(exchange, asked);
  const Error told = error;  // may lie in what respond destroys
  respond_error(exchange, &asked, told);
}

// The class of the repository could not be learned.
void Access::refuse_unknown(const AccessSettings& settings, http::Exchange& exchange, const Asked& asked,
                            const Error& error, bool is_asker_runtime) {
  if (!is_asker_runtime && is_refusal(error)) return refuse_asker(settings, exchange, asked);
  refuse(exchange, asked, error, "class");
}

void Access::refuse_nothing(const MirrorSettings& settings, http::Exchange& exchange, const Asked& asked) {
  // Perhaps the node's own password was set right in the meantime.
  if (!settings.offline) doubt(settings, asked);
  const Error* said = classes_.refusal_of(asked.key);
  refuse(exchange, asked, said ? *said : needs_credentials(asked), "nothing_given");
}

// The same words whatever is cached: who may not have it may not know of it either.
void Access::refuse_asker(const AccessSettings& settings, http::Exchange& exchange, const Asked& asked) {
  const bool is_cgroup_to_blame = is_unreadable(settings, exchange);
  Error error{Errc::refused_by_policy,
              fmt::format("{} is not open to everybody, and this connection belongs to none of this node's "
                          "runtimes (access.runtime_uids, outside of pods)",
                          asked.key)};
  if (is_cgroup_to_blame)
    error.message =
        fmt::format("{} is not open to everybody, and whether this connection is a pod's is not known: {}",
                    asked.key, parts_.cgroups.trouble());
  error.diagnosis = is_cgroup_to_blame ? "cgroup_unreadable" : "not_a_runtime";
  const std::string why = error.diagnosis;
  refuse(exchange, asked, error, why.c_str());
}

void Access::fail(const MirrorSettings& settings, http::Exchange& exchange, const Asked& asked,
                  const Error& error) {
  const Error why = error;  // may lie in what respond destroys
  if (asked.target->as.who == registry::AskAs::Who::client) {
    // A blob may have been asked for as somebody else, whose download it was: the next request finds out.
    const bool is_own_answer = asked.route.kind != RouteKind::blob;
    if (why.code == Errc::denied && is_own_answer)
      grants_.refuse(*asked.target, why);
    else if (is_refusal(why) || why.code == Errc::not_found)
      grants_.doubt(*asked.target);
    return respond_error(exchange, &asked, why);
  }
  if (!is_refusal(why) || !is_runtime(settings.access, exchange).value_or(false))
    return respond_error(exchange, &asked, why);
  const auto known = classes_.of(settings.access, asked.key).repository_class;
  if (known != RepositoryClass::unknown && why.code == Errc::denied) doubt(settings, asked);
  // What the node has lost a client may still have.
  const bool is_nodes = known == RepositoryClass::node && why.code == Errc::denied;
  if (known != RepositoryClass::unknown && !is_nodes) return respond_error(exchange, &asked, why);
  classes_.refused(asked.key, why);
  const auto given = handles_.read(exchange.request().headers, asked.key, parts_.loop.wall_now());
  const bool may_say_more = given.presented == Presented::nothing || given.presented == Presented::unknown;
  if (!may_say_more) return respond_error(exchange, &asked, why);
  challenge(exchange, &asked, given.presented == Presented::unknown, &why);
}

void Access::doubt(const MirrorSettings& settings, const Asked& asked) {
  const bool is_plain = !settings.access.requires_client(asked.key);
  classes_.used(settings.access, is_plain ? asked.base : as_nobody(*asked.base), object_of(asked), true);
}

bool Access::is_open(const cache::RepositoryKey& repository) const {
  const auto kept = parts_.catalog.repository(repository);
  return kept && kept->repository_class == RepositoryClass::open;
}

}  // namespace layerd::proxy
