#include "proxy/blob_handler.h"

#include <fmt/core.h>

#include "proxy/access.h"
#include "proxy/answers.h"
#include "proxy/body_pump.h"

namespace layerd::proxy {
namespace {

constexpr std::string_view kBlobType = "application/octet-stream";
// A body that was broken off is reopened with a head only when bytes come within this time.
constexpr Duration kReopenWithin = std::chrono::seconds(5);
constexpr ByteCount kFirstChunk = 64_KiB;

class BlobHandler final : public http::Handler {
 public:
  BlobHandler(MirrorServices& services, MirrorSettingsPtr settings, http::Exchange& exchange, AskedPtr asked,
              std::optional<cache::Link> link)
      : services_(services),
        settings_(std::move(settings)),
        exchange_(exchange),
        asked_(std::move(asked)),
        link_(std::move(link)),
        known_(services.parts.store.known_size(*asked_->digest)) {
    if (link_ && !entitles_to_blob(*link_)) link_.reset();
  }

  void start() {
    deadline_ = services_.parts.loop.after(kSourceWithin, "blob source", [this] { give_up(); });
    // An index that lost its last words (a crash, a rebuild) still finds the file by its name.
    if (link_) return open();
    // No member hears of a digest that nobody has said to be of this repository.
    const bool are_asked = services_.parts.downloads.asks_members(*asked_->target);
    known_ || exchange_.is_head() || are_asked ? confirm() : join();
  }

 private:
  const Digest& digest() const { return *asked_->digest; }

  // One HEAD upstream: for a blob that is here or coming, or that members may have, but is not known to
  // belong to this repository; and for a client's own HEAD of one that is not here.
  void confirm() {
    pending_ = services_.confirmations.ask(
        asked_->target, digest(), upstream::Kind::blob, [this](Result<Confirmed> confirmed) {
          if (!confirmed && may_prove_by_get(confirmed.error())) return join();
          if (!confirmed) return fail(confirmed.error());
          link_ = cache::Link{digest(), cache::LinkKind::confirmed, confirmed->size.value_or(0), {}};
          if (confirmed->is_told) link_ = cache::Link{digest(), cache::LinkKind::told, 0, {}};
          if (source_) return wait_for_size();
          // What was coming may be here by now.
          if (known_ || (!was_gone_ && services_.parts.store.known_size(digest()))) return open();
          // A registry may tell no length to HEAD.
          if (!exchange_.is_head() || !confirmed->size) return join();
          served_ = Served::upstream;
          sized(*confirmed->size);
        });
  }

  // A registry without HEAD for blobs still gives them. Then our own download, of which no member hears, is
  // the question.
  bool may_prove_by_get(const Error& error) {
    const bool is_no_head = error.code == Errc::upstream_status && error.status < 500 && error.status != 429;
    const bool may_begin = !source_ && !exchange_.is_head() && !services_.parts.downloads.runs(digest());
    return is_no_head && may_begin && !services_.parts.store.known_size(digest());
  }

  void open() {
    pending_ = services_.parts.store.open(digest(), [this](Result<cache::StoredBlobPtr> opened) {
      if (!opened) {
        // Evicted or set aside meanwhile, or a sick disk: neither fails a pull.
        known_.reset();
        was_gone_ = true;
        if (!settings_->offline) return exchange_.is_head() ? confirm() : join();
        return fail(opened.error().code == Errc::not_found ? offline_error(digest().str()) : opened.error());
      }
      const ByteCount size = (*opened)->byte_count();
      stored_ = opened->get();
      source_ = std::move(*opened);
      served_ = Served::hit;
      sized(size);
    });
  }

  void join() {
    // What another repository's client began is followed, and helped, only by who has the right to it here.
    if (!link_ && services_.parts.downloads.runs(digest())) return confirm();
    std::optional<ByteCount> hint;
    if (link_ && link_->size != 0) hint = link_->size;
    Joined joined = services_.parts.downloads.join(digest(), asked_->target, hint, link_.has_value());
    source_ = std::move(joined.source);
    confirmed_by_target_ = std::move(joined.confirmed_by_target);
    came_from_member_ = std::move(joined.came_from_member);
    has_others_ = std::move(joined.has_others);
    served_ = joined.started ? Served::upstream : Served::join;
    wait_for_size();
  }

  void wait_for_size() {
    pending_ = source_->size([this](Result<ByteCount> size) {
      if (size && has_lost_word()) return confirm();
      if (size && contradicts_manifest(*size)) return;
      if (size && served_ == Served::upstream && came_from_member_ && came_from_member_())
        served_ = Served::peer;
      if (size) return link_ ? sized(*size) : prove(*size);
      const bool others = served_ == Served::join && !rejoined_;
      if (others && (size.error().code == Errc::not_found || size.error().code == Errc::denied)) {
        rejoined_ = true;  // that was the answer to another repository's question; ask our own
        source_.reset();
        return join();
      }
      fail(own_words(size.error()));
    });
  }

  // Of what another repository's upstream said only the kind: its name is not for this client.
  Error own_words(const Error& error) const {
    if (!has_others_ || !has_others_()) return error;
    Error told = error;
    told.message = fmt::format("no endpoint gave {} of {}", digest().str(), asked_->key);
    told.diagnosis.clear();
    return told;
  }

  // It has become somebody else's as well meanwhile: a member's word is not enough any more.
  bool has_lost_word() {
    if (!link_ || link_->kind != cache::LinkKind::told) return false;
    if (services_.links.may_be_told(asked_->key, digest(), asked_->target->as.who)) return false;
    link_.reset();
    return true;
  }

  // A manifest of this repository names the size, and what is coming has another: somebody else's upstream
  // may have told it. Such a head would be the beginning of a body that the runtime can only throw away.
  bool contradicts_manifest(ByteCount size) {
    if (!link_ || link_->kind == cache::LinkKind::confirmed || link_->size == 0 || link_->size == size)
      return false;
    fail({Errc::upstream_protocol,
          fmt::format("the upstream says {} has {} bytes, the manifest that lists it says {}", digest().str(),
                      size, link_->size)});
    return true;
  }

  // The blob is on its way without a link: our own endpoint's answer is the proof that it belongs to this
  // repository, the answer of one that another repository's client brought is none.
  void prove(ByteCount size) {
    if (!confirmed_by_target_ || !confirmed_by_target_()) return confirm();
    link_ = cache::Link{digest(), cache::LinkKind::confirmed, size, {}};
    services_.links.put(asked_->key, {*link_});
    sized(size);
  }

  // A source has confirmed the blob: the head may leave.
  void sized(ByteCount size) {
    const ObjectFacts facts{digest(), kBlobType, size, served_, {}};
    plan_ = plan_answer(exchange_, *asked_, facts);
    const bool needs_bytes = plan_.head.status < 300 && !exchange_.is_head();
    if (needs_bytes) {
      for (const BodyPiece& piece : plan_.pieces) {
        if (!piece.range.empty()) source_->want(piece.range);
      }
      if (must_see_bytes()) return see_bytes();
    }
    begin({});
  }

  bool must_see_bytes() const {
    const bool one_range = plan_.pieces.size() == 1 && !plan_.pieces.front().range.empty();
    return one_range && !source_->file() && services_.broken.recent(digest());
  }

  void see_bytes() {
    deadline_ = services_.parts.loop.after(kReopenWithin, "reopened blob", [this] { give_up(); });
    const ByteRange range = plan_.pieces.front().range;
    pending_ = source_->read(range.first, std::min(range.size(), kFirstChunk), [this](Result<Bytes> first) {
      first ? begin(std::move(*first)) : fail(own_words(first.error()));
    });
  }

  void begin(Bytes first) {
    deadline_.reset();
    note_served(exchange_, served_);
    if (exchange_.is_head() || plan_.head.status >= 300) {
      respond_without_bytes(exchange_, plan_, plan_.length);
      return;
    }
    const ByteCount length = plan_.length;
    exchange_.begin(std::move(plan_.head), length);
    pump_.emplace(exchange_, source_, stored_);
    pump_->start(std::move(plan_.pieces), std::move(first), [this](Result<Ok> sent) {
      if (!sent) {
        services_.broken.remember(digest());
        const Error why = sent.error();
        return exchange_.break_off(why);
      }
      if (plan_.whole) services_.parts.store.served_whole(digest());
      exchange_.finish();
    });
  }

  void give_up() {
    fail(Error{Errc::upstream_timeout,
               fmt::format("no source gave {} of {} in time", digest().str(), asked_->key)});
  }

  void fail(const Error& error) {
    deadline_.reset();
    pending_.reset();
    // What this node has of it for others must not show in the words.
    services_.access.fail(*settings_, exchange_, *asked_, link_ ? error : said_of_unlinked(*asked_, error));
  }

  MirrorServices& services_;
  MirrorSettingsPtr settings_;
  http::Exchange& exchange_;
  AskedPtr asked_;
  std::optional<cache::Link> link_;  // why this repository may have the blob; nothing until it is known
  std::optional<ByteCount> known_;   // the store has it, by its index
  cache::SourcePtr source_;
  const cache::StoredBlob* stored_ = nullptr;  // source_, if that is a finished blob
  Served served_ = Served::none;
  std::function<bool()> confirmed_by_target_, came_from_member_, has_others_;
  bool rejoined_ = false;
  bool was_gone_ = false;  // the store does not have what its index knows
  AnswerPlan plan_;
  std::optional<BodyPump> pump_;
  Ticket pending_, deadline_;
};

// HEAD, conditions and hot small blobs: answered from the index and from memory.
bool answer_at_once(MirrorServices& services, http::Exchange& exchange, const Asked& asked, ByteCount size) {
  const ObjectFacts facts{*asked.digest, kBlobType, size, Served::hit, {}};
  if (const std::string* bytes = services.parts.store.hot(*asked.digest); bytes && bytes->size() == size) {
    respond_with_bytes(exchange, asked, facts, *bytes);
    return true;
  }
  if (!exchange.is_head() && !exchange.request().headers.has("If-None-Match")) return false;
  AnswerPlan plan = plan_answer(exchange, asked, facts);
  if (!exchange.is_head() && plan.head.status != 304) return false;
  note_served(exchange, Served::hit);
  return respond_without_bytes(exchange, plan, size);
}

}  // namespace

std::unique_ptr<http::Handler> serve_blob(MirrorServices& services, MirrorSettingsPtr settings,
                                          http::Exchange& exchange, AskedPtr asked) {
  note_object(exchange, "blob", *asked);
  auto link = services.links.of(asked->key, *asked->digest, asked->target->as.who);
  const auto known = services.parts.store.known_size(*asked->digest);
  LinkQuestion question;
  question.linked = link && entitles_to_blob(*link);
  question.can_ask_upstream = !settings->offline;
  const Verdict verdict = decide(question);
  if (verdict == Verdict::refuse) {
    respond_error(exchange, asked.get(), offline_error(asked->route.reference + " of " + asked->key));
    return nullptr;
  }
  if (verdict == Verdict::answer && known && answer_at_once(services, exchange, *asked, *known))
    return nullptr;
  auto handler = std::make_unique<BlobHandler>(services, std::move(settings), exchange, std::move(asked),
                                               std::move(link));
  handler->start();
  return handler;
}

}  // namespace layerd::proxy
