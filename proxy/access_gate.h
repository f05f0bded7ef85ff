// Access: lets a request through to its handler, or answers it: 401 with a challenge, 403 with the
// reason. Knows who asks, what the repository is, and what upstream said to the client's credentials;
// the decision itself is proxy/access.h. Serves our token endpoint as well. Loop thread; owned by the
// Mirror's services.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "proxy/asked.h"
#include "proxy/grants.h"
#include "proxy/handles.h"
#include "proxy/http/exchange.h"
#include "proxy/mirror_settings.h"
#include "proxy/repository_classes.h"

namespace layerd::proxy {

// Serves what was let through; as Service::serve.
using ServeAllowed = std::function<std::unique_ptr<http::Handler>(AskedPtr)>;

// Upstream's no to a digest that is not known to belong to the repository, in words that are the same
// whether the digest is here for others or not: a HEAD brings none, a GET brings upstream's own.
Error said_of_unlinked(const Asked& asked, const Error& error);

class Access {
 public:
  explicit Access(const MirrorParts& parts);
  // At the start, and with each reload.
  void use(const AccessSettings& settings);

  // Is it let through without any waiting? Then what to go on with; else null, and nothing was answered.
  AskedPtr pass_at_once(const MirrorSettings& settings, http::Exchange& exchange, const AskedPtr& asked);
  // Decides, after asking upstream where that is needed; answers the request or calls `next` once.
  std::unique_ptr<http::Handler> pass(MirrorSettingsPtr settings, http::Exchange& exchange, AskedPtr asked,
                                      ServeAllowed next);

  // What was let through has failed. Answers the error, or a challenge where the error is upstream's word
  // that this client has to say who it is. Call it last.
  void fail(const MirrorSettings& settings, http::Exchange& exchange, const Asked& asked, const Error& error);
  // A stale answer was given because upstream refuses what it gave to anybody before.
  void doubt(const MirrorSettings& settings, const Asked& asked);

  // /v2/ with access.challenge_ping: true if it was answered with a challenge.
  bool challenge_ping(const MirrorSettings& settings, http::Exchange& exchange);
  // GET /token: a handle for whatever was given. Asks nobody and never refuses.
  void give_token(const MirrorSettings& settings, http::Exchange& exchange, const registry::Route& route);

  // May anybody on this machine know of the repository?
  bool is_open(const cache::RepositoryKey& repository) const;
  // A reload: what was refused may be allowed by now.
  void doubt_all() { classes_.doubt_all(); }

 private:
  struct Passage;
  class Gate;
  // Nothing: the cgroup of the asker is not known yet.
  std::optional<bool> is_runtime(const AccessSettings& settings, http::Exchange& exchange) const;
  std::unique_ptr<http::Handler> decide(Passage passage);
  std::unique_ptr<http::Handler> decide_for(Passage passage, bool is_asker_runtime);
  AccessQuestion question_of(const Passage& passage, bool is_asker_runtime, Presented presented);
  std::unique_ptr<http::Handler> decide_given(Passage passage, AccessQuestion question, Presentation given);
  std::unique_ptr<http::Handler> go(Passage passage, bool is_asker_runtime);
  std::unique_ptr<http::Handler> learn(Passage passage, bool is_asker_runtime);
  std::unique_ptr<http::Handler> test(Passage passage, registry::TargetPtr client);
  bool is_unreadable(const AccessSettings& settings, http::Exchange& exchange) const;
  AskedPtr as_node(const AccessSettings& settings, const AskedPtr& asked, bool is_asker_runtime) const;
  void refuse(http::Exchange& exchange, const Asked& asked, const Error& error, const char* why);
  void refuse_asker(const AccessSettings& settings, http::Exchange& exchange, const Asked& asked);
  void refuse_unknown(const AccessSettings& settings, http::Exchange& exchange, const Asked& asked,
                      const Error& error, bool is_asker_runtime);
  void refuse_nothing(const MirrorSettings& settings, http::Exchange& exchange, const Asked& asked);
  // why: what upstream said to who has no credentials; may be null.
  void challenge(http::Exchange& exchange, const Asked* asked, bool is_handle_bad, const Error* why);

  MirrorParts parts_;
  RepositoryClasses classes_;
  Grants grants_;
  Handles handles_;
};

}  // namespace layerd::proxy
