// Every case of the two decisions.
#include "proxy/access.h"

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::proxy;
using cache::RepositoryClass;

namespace {

const std::vector<RepositoryClass> kClasses{RepositoryClass::unknown, RepositoryClass::open,
                                            RepositoryClass::node, RepositoryClass::client};
const std::vector<Presented> kPresented{Presented::nothing, Presented::unknown, Presented::anonymous,
                                        Presented::given};
const std::vector<Right> kRights{Right::untested, Right::granted, Right::refused};

template <class Each>
void for_all(Each each) {
  for (const auto repository_class : kClasses)
    for (const auto presented : kPresented)
      for (const auto right : kRights)
        for (int bits = 0; bits < 32; ++bits)
          each(AccessQuestion{repository_class, (bits & 1) != 0, presented, right, (bits & 2) != 0,
                              (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0});
}

bool gives(Ruling ruling) { return ruling == Ruling::go || ruling == Ruling::go_as_client; }

}  // namespace

TEST_CASE("what is open is for everybody, without a question") {
  for_all([](const AccessQuestion& question) {
    if (question.repository_class == RepositoryClass::open) CHECK(rule(question) == Ruling::go);
  });
}

// rules: stranger-refused
TEST_CASE("who is no runtime gets nothing that is not open, whatever he brings") {
  for_all([](const AccessQuestion& question) {
    if (question.is_runtime || question.repository_class == RepositoryClass::open) return;
    CHECK(rule(question) == (question.was_learned ? Ruling::refuse_asker : Ruling::learn));
  });
}

// rules: strangers-one-way
TEST_CASE("what is known of a repository that is not open makes no difference for who is no runtime") {
  for_all([](const AccessQuestion& question) {
    if (question.is_runtime || question.repository_class == RepositoryClass::open) return;
    auto never_heard_of = question;
    never_heard_of.repository_class = RepositoryClass::unknown;
    never_heard_of.is_known_here = false;
    CHECK(rule(question) == rule(never_heard_of));
  });
}

TEST_CASE("only what is the client's alone is challenged, and only runtimes without a valid handle") {
  for_all([](const AccessQuestion& question) {
    const bool has_none =
        question.presented == Presented::nothing || question.presented == Presented::unknown;
    const bool is_clients = question.repository_class == RepositoryClass::client ||
                            (question.repository_class == RepositoryClass::node && question.requires_client);
    const bool is_challenged = is_clients && question.is_runtime && has_none;
    CHECK((rule(question) == Ruling::challenge) == is_challenged);
  });
}

TEST_CASE("a client's repository is given to granted credentials alone") {
  for_all([](const AccessQuestion& question) {
    if (question.repository_class != RepositoryClass::client || !gives(rule(question))) return;
    CHECK(question.is_runtime);
    const bool is_granted = question.presented == Presented::given && question.right == Right::granted;
    // After a 404 alone nothing is cached: the same 404 is passed on to who has nothing more to say.
    const bool is_nothing_known =
        question.presented == Presented::anonymous && question.is_only_hidden && !question.is_known_here;
    CHECK((is_granted || is_nothing_known));
    if (is_granted) CHECK(rule(question) == Ruling::go_as_client);
  });
}

TEST_CASE("credentials that were refused a moment ago are not tried again") {
  for_all([](const AccessQuestion& question) {
    if (question.presented != Presented::given || question.right != Right::refused) return;
    CHECK(rule(question) != Ruling::test);
    if (question.repository_class == RepositoryClass::client && question.is_runtime)
      CHECK(rule(question) == Ruling::refuse_given);
  });
}

TEST_CASE("what is the node's is given to its runtimes without credentials") {
  for_all([](const AccessQuestion& question) {
    if (question.repository_class != RepositoryClass::node || !question.is_runtime) return;
    // Where clients have to bring their own it is as if it were theirs.
    auto as_clients = question;
    as_clients.repository_class = RepositoryClass::client;
    CHECK(rule(question) == (question.requires_client ? rule(as_clients) : Ruling::go));
  });
}

TEST_CASE("what is here of a repository without a class is given to nobody before upstream was asked") {
  for_all([](const AccessQuestion& question) {
    if (question.repository_class != RepositoryClass::unknown) return;
    if (!question.is_runtime) return;
    const bool may_go = !question.is_known_here && question.presented != Presented::given;
    CHECK(rule(question) == (may_go && !question.requires_client ? Ruling::go : Ruling::learn));
  });
}

TEST_CASE("a digest that is not linked needs upstream's word, and is refused without an upstream") {
  CHECK(decide({true, true}) == Verdict::answer);
  CHECK(decide({true, false}) == Verdict::answer);
  CHECK(decide({false, true}) == Verdict::confirm);
  CHECK(decide({false, false}) == Verdict::refuse);
  CHECK_FALSE(entitles_to_blob({{}, cache::LinkKind::manifest, 0, {}}));
  CHECK(entitles_to_blob({{}, cache::LinkKind::listed, 0, {}}));
  CHECK(entitles_to_blob({{}, cache::LinkKind::confirmed, 0, {}}));
}
