#include "proxy/access.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;

Ruling rule_for_given(const AccessQuestion& question) {
  if (question.right == Right::refused) return Ruling::refuse_given;
  if (question.right == Right::granted) return Ruling::go_as_client;
  return Ruling::test;
}

Ruling rule_for_client_class(const AccessQuestion& question) {
  switch (question.presented) {
    case Presented::nothing:
    case Presented::unknown:
      return Ruling::challenge;
    case Presented::anonymous:
      // What is here may be from before the class was unsure: then nobody gets it by having nothing.
      return question.is_only_hidden && !question.is_known_here ? Ruling::go : Ruling::refuse_nothing;
    case Presented::given:
      break;
  }
  return rule_for_given(question);
}

}  // namespace

Ruling rule(const AccessQuestion& question) {
  if (question.repository_class == RepositoryClass::open) return Ruling::go;
  // For who is no runtime what is known here counts for nothing: upstream is asked what it says to anybody,
  // in the same way whether the node has something of the repository or never heard of it.
  if (!question.is_runtime) return question.was_learned ? Ruling::refuse_asker : Ruling::learn;
  const bool is_nodes = question.repository_class == RepositoryClass::node;
  if (is_nodes && !question.requires_client) return Ruling::go;
  if (is_nodes || question.repository_class == RepositoryClass::client)
    return rule_for_client_class(question);
  // What is known here without a class has lost its rights. Else upstream's answer to the request itself
  // tells the class.
  const bool may_need_class =
      question.is_known_here || question.presented == Presented::given || question.requires_client;
  return may_need_class ? Ruling::learn : Ruling::go;
}

Verdict decide(const LinkQuestion& question) {
  if (question.linked) return Verdict::answer;
  return question.can_ask_upstream ? Verdict::confirm : Verdict::refuse;
}

bool entitles_to_blob(const cache::Link& link) { return link.kind != cache::LinkKind::manifest; }

}  // namespace layerd::proxy
