#include "proxy/access.h"

namespace layerd::proxy {

Verdict decide(const AccessQuestion& question) {
  if (question.linked) return Verdict::answer;
  return question.can_ask_upstream ? Verdict::confirm : Verdict::refuse;
}

bool entitles_to_blob(const cache::Link& link) { return link.kind != cache::LinkKind::manifest; }

}  // namespace layerd::proxy
