#include "proxy/manifest_handler.h"

#include <fmt/core.h>

#include "proxy/access.h"
#include "proxy/answers.h"

namespace layerd::proxy {
namespace {

// A manifest that is known to be here and answerable: what HEAD says of it.
struct Known {
  Digest digest;
  cache::ManifestRecord record;
};

// HEAD, conditions, and bytes that lie in memory. False: the bytes have to be loaded.
bool answer_at_once(MirrorServices& services, http::Exchange& exchange, const Asked& asked,
                    const Known& known, Served served, std::string_view why) {
  const ObjectFacts facts{known.digest, known.record.media_type, known.record.size, served, why};
  if (const std::string* bytes = services.parts.store.hot(known.digest);
      bytes && bytes->size() == known.record.size && !exchange.is_head()) {
    respond_with_bytes(exchange, asked, facts, *bytes);
    return true;
  }
  AnswerPlan plan = plan_answer(exchange, asked, facts);
  if (!exchange.is_head() && plan.head.status < 300) return false;
  note_served(exchange, served);
  return respond_without_bytes(exchange, plan, known.record.size);
}

class ManifestHandler final : public http::Handler {
 public:
  ManifestHandler(MirrorServices& services, MirrorSettingsPtr settings, http::Exchange& exchange,
                  AskedPtr asked)
      : services_(services), settings_(std::move(settings)), exchange_(exchange), asked_(std::move(asked)) {}

  // The ways in; one of them is called, once.
  void load(const Digest& digest, Served served, std::string why) {
    served_ = served;
    why_ = std::move(why);
    pending_ = services_.manifests.load(digest, [this, digest](Result<ManifestPtr> loaded) {
      if (loaded) return respond(**loaded);
      // Evicted or set aside meanwhile, or a sick disk: neither fails a pull.
      if (settings_->offline) return fail(loaded.error());
      fetch(digest);
    });
  }

  void fetch(const Digest& digest) {
    const std::string reference = digest.str();
    served_ = services_.manifests.fetching(asked_->target, reference) ? Served::join : Served::upstream;
    pending_ = services_.manifests.fetch(
        asked_->target, reference, digest,
        [this](Result<ManifestPtr> fetched) { fetched ? respond(**fetched) : fail(fetched.error()); });
  }

  void adopt(const Digest& digest) {
    pending_ = services_.manifests.adopt(asked_->target, digest, [this, digest](Result<Ok> adopted) {
      if (adopted) return answer_known(digest, Served::hit, {});
      if (adopted.error().code == Errc::not_found && !services_.manifests.here(digest)) return fetch(digest);
      fail(adopted.error());
    });
  }

  void find() {
    pending_ = services_.tags.find(
        settings_, asked_->target, asked_->route.reference,
        [this](Result<TagAnswer> found) { found ? on_found(std::move(*found)) : fail(found.error()); });
  }

 private:
  void on_found(TagAnswer found) {
    const bool stale = found.origin == TagAnswer::Origin::stale;
    if (found.manifest) {
      served_ = stale ? Served::stale : Served::upstream;
      why_ = std::move(found.why);
      return respond(*found.manifest);
    }
    if (found.was_denied) services_.access.doubt(*settings_, *asked_);
    answer_known(found.record.digest, stale ? Served::stale : Served::hit, std::move(found.why));
  }

  void answer_known(const Digest& digest, Served served, std::string why) {
    const Digest wanted = digest;  // may lie in a callback that is replaced below
    if (auto record = services_.manifests.here(wanted)) {
      note_digest(wanted);
      if (answer_at_once(services_, exchange_, *asked_, {wanted, std::move(*record)}, served, why)) return;
    }
    load(wanted, served, std::move(why));
  }

  void respond(const Manifest& manifest) {
    note_digest(manifest.digest);
    const ObjectFacts facts{manifest.digest, manifest.media_type, manifest.body.bytes.size(), served_, why_};
    respond_with_bytes(exchange_, *asked_, facts, manifest.body.bytes);
  }

  void note_digest(const Digest& digest) {
    if (!asked_->digest && !digest_noted_) exchange_.note(notes::kDigest, digest.str());
    digest_noted_ = true;
  }

  void fail(const Error& error) {
    const bool is_linked =
        !asked_->digest ||
        services_.links.of(asked_->key, *asked_->digest, asked_->target->as.who).has_value();
    // What this node has of it for others must not show in the words.
    services_.access.fail(*settings_, exchange_, *asked_,
                          is_linked ? error : said_of_unlinked(*asked_, error));
  }

  MirrorServices& services_;
  MirrorSettingsPtr settings_;
  http::Exchange& exchange_;
  AskedPtr asked_;
  Served served_ = Served::none;
  std::string why_;
  bool digest_noted_ = false;
  Ticket pending_;
};

std::unique_ptr<http::Handler> serve_by_digest(MirrorServices& services, MirrorSettingsPtr settings,
                                               http::Exchange& exchange, AskedPtr asked) {
  const Digest& digest = *asked->digest;
  auto record = services.manifests.here(digest);
  LinkQuestion question;
  question.linked = services.links.of(asked->key, digest, asked->target->as.who).has_value();
  question.can_ask_upstream = !settings->offline;
  const Verdict verdict = decide(question);
  if (verdict == Verdict::refuse || (!record && settings->offline)) {
    respond_error(exchange, asked.get(), offline_error(asked->route.reference + " of " + asked->key));
    return nullptr;
  }
  const bool answerable = record && verdict == Verdict::answer;
  if (answerable && answer_at_once(services, exchange, *asked, {digest, *record}, Served::hit, {}))
    return nullptr;
  auto handler = std::make_unique<ManifestHandler>(services, std::move(settings), exchange, asked);
  if (answerable)
    handler->load(digest, Served::hit, {});
  else if (record)
    handler->adopt(digest);
  else
    handler->fetch(digest);
  return handler;
}

std::unique_ptr<http::Handler> serve_by_tag(MirrorServices& services, MirrorSettingsPtr settings,
                                            http::Exchange& exchange, AskedPtr asked) {
  auto fresh = services.tags.fresh(*settings, *asked->target, asked->route.reference);
  auto record = fresh ? services.manifests.here(fresh->digest) : std::nullopt;
  if (record) {
    exchange.note(notes::kDigest, fresh->digest.str());
    if (answer_at_once(services, exchange, *asked, {fresh->digest, *record}, Served::hit, {})) return nullptr;
  }
  auto handler = std::make_unique<ManifestHandler>(services, settings, exchange, asked);
  if (record)
    handler->load(fresh->digest, Served::hit, {});
  else if (fresh && !settings->offline)
    handler->fetch(fresh->digest);
  else
    handler->find();
  return handler;
}

}  // namespace

std::unique_ptr<http::Handler> serve_manifest(MirrorServices& services, MirrorSettingsPtr settings,
                                              http::Exchange& exchange, AskedPtr asked) {
  note_object(exchange, "manifest", *asked);
  if (asked->digest) return serve_by_digest(services, std::move(settings), exchange, std::move(asked));
  return serve_by_tag(services, std::move(settings), exchange, std::move(asked));
}

}  // namespace layerd::proxy
