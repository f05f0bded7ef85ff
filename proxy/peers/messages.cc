// The messages as JSON and back. docs/peers.md "Messages" describes every field; what is empty, zero or false
// is left out.
#include "proxy/peers/messages.h"

#include "proxy/peers/message_fields.h"
#include "proxy/registry/reference.h"

namespace layerd::peers {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// Opens `text`, lets `read` take the fields, and answers the message or the first field that did not fit.
template <class Message, class Read>
Result<Message> parse(std::string_view text, Read read) {
  const auto json = parse_json(text, {kMostMessage, 4});
  if (!json) return {Errc::upstream_protocol, "a member's message is " + json.error().message};
  Fields fields(*json);
  if (fields.failed()) return *fields.error();
  Message message;
  read(fields, message);
  return fields.end(std::move(message));
}

void put(Json& json, const char* key, const std::string& text) {
  if (!text.empty()) json[key] = text;
}
void put(Json& json, const char* key, bool flag) {
  if (flag) json[key] = true;
}
void put(Json& json, const char* key, std::uint64_t number) {
  if (number != 0) json[key] = number;
}
void put(Json& json, const char* key, const std::vector<std::string>& ids) {
  if (!ids.empty()) json[key] = ids;
}
void put(Json& json, const char* key, const std::optional<ByteCount>& size) {
  if (size) json[key] = *size;
}
void put(Json& json, const char* key, Rights rights) {
  if (rights != Rights::unknown) json[key] = word_of(rights);
}
void put(Json& json, const char* key, const std::vector<Digest>& digests) {
  if (digests.empty()) return;
  auto& list = json[key] = Json::array();
  for (const auto& digest : digests) list.push_back(digest.str());
}

void put_blob(Json& json, const BlobName& blob) {
  json["registry"] = blob.registry;
  json["repository"] = blob.repository;
  json["digest"] = blob.digest.str();
}

void put_unit(Json& json, const UnitName& unit) {
  put_blob(json, unit.blob);
  json["unit"] = unit.unit;
  put(json, "whole", unit.whole);
}

std::string_view word_of(AskAnswer::Kind kind) {
  switch (kind) {
    case AskAnswer::Kind::fetch:
      return "fetch";
    case AskAnswer::Kind::from:
      return "from";
    case AskAnswer::Kind::redirect:
      return "redirect";
    case AskAnswer::Kind::busy:
      break;
  }
  return "busy";
}

std::optional<AskAnswer::Kind> kind_of(std::string_view word) {
  using Kind = AskAnswer::Kind;
  for (const Kind kind : {Kind::fetch, Kind::from, Kind::redirect, Kind::busy})
    if (word == word_of(kind)) return kind;
  return std::nullopt;
}

std::int64_t in_milliseconds(Duration duration) { return duration_cast<milliseconds>(duration).count(); }

}  // namespace

std::string text_of(const Ask& message) {
  Json json = Json::object();
  put_unit(json, message.unit);
  put(json, "have", message.have);
  put(json, "load", std::uint64_t{message.load});
  put(json, "zone", message.zone);
  put(json, "rights", message.rights);
  put(json, "avoid", message.avoid);
  put(json, "dead", message.dead);
  put(json, "hops", std::uint64_t{message.hops});
  put(json, "needs_claim", message.needs_claim);
  put(json, "about", message.about);
  return dump_json(json);
}

Result<Ask> parse_ask(std::string_view text) {
  return parse<Ask>(text, [](Fields& fields, Ask& ask) {
    ask.unit = fields.unit();
    ask.have = fields.number("have", kMostBytes);
    ask.load = static_cast<unsigned>(fields.number("load", 1'000'000));
    ask.zone = fields.text("zone", kMostZone);
    ask.rights = fields.rights("rights");
    ask.avoid = fields.ids("avoid", kMostIds);
    ask.dead = fields.ids("dead", kMostIds);
    ask.hops = static_cast<unsigned>(fields.number("hops", kMostHops));
    ask.needs_claim = fields.flag("needs_claim");
    ask.about = fields.ids("about", kMostIds);
  });
}

std::string text_of(const AskAnswer& message) {
  Json json = Json::object();
  json["kind"] = word_of(message.kind);
  if (message.kind == AskAnswer::Kind::fetch) json["lease_ms"] = in_milliseconds(message.lease);
  if (message.kind == AskAnswer::Kind::busy) json["wait_ms"] = in_milliseconds(message.wait);
  put(json, "sources", message.sources);
  put(json, "member", message.member);
  put(json, "whole", message.whole);
  if (message.claim) json["claim"] = message.claim->hex();
  put(json, "proved", message.is_proved);
  put(json, "claimed_by", message.claimed_by);
  put(json, "agree", message.agree);
  return dump_json(json);
}

Result<AskAnswer> parse_ask_answer(std::string_view text) {
  return parse<AskAnswer>(text, [](Fields& fields, AskAnswer& answer) {
    const auto kind = kind_of(fields.text("kind", 16));
    if (!kind) return fields.refuse("kind", "is no answer to an ask");
    answer.kind = *kind;
    answer.lease = fields.milliseconds("lease_ms");
    answer.wait = fields.milliseconds("wait_ms");
    answer.sources = fields.ids("sources", kMostSources);
    if (answer.kind == AskAnswer::Kind::from && answer.sources.empty())
      fields.refuse("sources", "names nobody");
    if (answer.kind == AskAnswer::Kind::redirect) answer.member = fields.id("member");
    answer.whole = fields.flag("whole");
    answer.claim = fields.sha256("claim");
    answer.is_proved = fields.flag("proved");
    if (answer.is_proved && !answer.claim) fields.refuse("proved", "without a claim");
    answer.claimed_by = fields.id_or_none("claimed_by");
    answer.agree = fields.ids("agree", kMostIds);
  });
}

std::string text_of(const Probe& message) {
  Json json = Json::object();
  put_unit(json, message.unit);
  return dump_json(json);
}

Result<Probe> parse_probe(std::string_view text) {
  return parse<Probe>(text, [](Fields& fields, Probe& probe) { probe.unit = fields.unit(); });
}

std::string text_of(const ProbeAnswer& message) {
  Json json = Json::object();
  put(json, "load", std::uint64_t{message.load});
  put(json, "slot", message.has_slot);
  put(json, "have", message.have);
  put(json, "complete", message.complete);
  put(json, "path", message.path);
  put(json, "rate", message.rate);
  return dump_json(json);
}

Result<ProbeAnswer> parse_probe_answer(std::string_view text) {
  return parse<ProbeAnswer>(text, [](Fields& fields, ProbeAnswer& answer) {
    answer.load = static_cast<unsigned>(fields.number("load", 1'000'000));
    answer.has_slot = fields.flag("slot");
    answer.have = fields.number("have", kMostBytes);
    answer.complete = fields.flag("complete");
    answer.path = fields.ids("path", kMostIds);
    answer.rate = fields.number("rate", kMostBytes);
  });
}

std::string text_of(const Tell& message) {
  Json json = Json::object();
  for (const auto& done : message.done) {
    Json& entry = json["done"].emplace_back(Json::object());
    put_unit(entry, done.unit);
    entry["sha256"] = done.sha256.hex();
    put(entry, "upstream", done.from_upstream);
  }
  for (const auto& alive : message.alive) {
    Json& entry = json["alive"].emplace_back(Json::object());
    put_unit(entry, alive.unit);
    put(entry, "have", alive.have);
  }
  for (const auto& gave_up : message.gave_up) {
    Json& entry = json["gave_up"].emplace_back(Json::object());
    put_unit(entry, gave_up.unit);
    put(entry, "whole_only", gave_up.whole_only);
  }
  for (const auto& taken : message.taken) put_unit(json["taken"].emplace_back(Json::object()), taken.unit);
  if (message.have) {
    Json& entry = json["have"] = Json::object();
    put(entry, "blobs", message.have->blobs);
    put(entry, "gone", message.have->gone);
    put(entry, "all", message.have->is_all);
  }
  return dump_json(json);
}

Result<Tell> parse_tell(std::string_view text) {
  return parse<Tell>(text, [](Fields& fields, Tell& tell) {
    const auto each = [&fields](const char* key, auto read) {
      for (const Json* object : fields.objects(key, kMostTold)) {
        Fields entry(*object);
        read(entry);
        if (entry.failed()) return fields.refuse(*entry.error());
      }
    };
    each("done", [&tell](Fields& entry) {
      const auto unit = entry.unit();
      const auto sha256 = entry.sha256("sha256");
      if (!sha256) return entry.refuse("sha256", "is missing");
      tell.done.push_back({unit, *sha256, entry.flag("upstream")});
    });
    each("alive", [&tell](Fields& entry) {
      tell.alive.push_back({entry.unit(), entry.number("have", kMostBytes)});
    });
    each("gave_up", [&tell](Fields& entry) {
      tell.gave_up.push_back({entry.unit(), entry.flag("whole_only")});
    });
    each("taken", [&tell](Fields& entry) { tell.taken.push_back({entry.unit()}); });
    const Json* have = fields.object("have");
    if (have == nullptr) return;
    Fields entry(*have);
    tell.have =
        Tell::Have{entry.digests("blobs", kMostHave), entry.digests("gone", kMostHave), entry.flag("all")};
    if (entry.failed()) fields.refuse(*entry.error());
  });
}

std::string text_of(const Who& message) {
  Json json = Json::object();
  put_blob(json, message.blob);
  return dump_json(json);
}

Result<Who> parse_who(std::string_view text) {
  return parse<Who>(text, [](Fields& fields, Who& who) { who.blob = fields.blob(); });
}

std::string text_of(const WhoAnswer& message) {
  Json json = Json::object();
  put(json, "holders", message.holders);
  put(json, "total", message.total);
  std::string hashes;  // all of them, or none: a part would be taken for the whole
  if (message.units.size() <= kMostProofs)
    for (const auto& unit : message.units) hashes += unit.hex();
  put(json, "units", hashes);
  return dump_json(json);
}

Result<WhoAnswer> parse_who_answer(std::string_view text) {
  return parse<WhoAnswer>(text, [](Fields& fields, WhoAnswer& answer) {
    answer.holders = fields.ids("holders", kMostHolders);
    answer.total = fields.size("total");
    answer.units = fields.hashes("units", kMostProofs);
  });
}

std::string text_of(const Recall& message) {
  Json json = Json::object();
  json["registry"] = message.registry;
  json["repository"] = message.repository;
  json["reference"] = message.reference;
  return dump_json(json);
}

Result<Recall> parse_recall(std::string_view text) {
  return parse<Recall>(text, [](Fields& fields, Recall& recall) {
    recall.registry = fields.registry();
    recall.repository = fields.repository();
    recall.reference = fields.text("reference", 140);
    const bool fits = registry::parse_digest(recall.reference).ok() || registry::check_tag(recall.reference);
    if (!fits) fields.refuse("reference", "is neither a tag nor a digest");
  });
}

std::string text_of(const RecallAnswer& message) {
  Json json = Json::object();
  put(json, "known", message.known);
  if (!message.known) return dump_json(json);
  json["digest"] = message.digest.str();
  put(json, "media_type", message.media_type);
  put(json, "size", message.size);
  if (message.checked_at > 0) json["checked_at"] = message.checked_at;
  put(json, "rights", message.rights);
  return dump_json(json);
}

Result<RecallAnswer> parse_recall_answer(std::string_view text) {
  return parse<RecallAnswer>(text, [](Fields& fields, RecallAnswer& answer) {
    answer.known = fields.flag("known");
    if (!answer.known) return;
    answer.digest = fields.digest("digest");
    answer.media_type = fields.text("media_type", kMostMediaType);
    answer.size = fields.required_number("size", kMostBytes);
    if (answer.size == 0) fields.refuse("size", "of what is known is not zero");
    answer.checked_at = static_cast<std::int64_t>(fields.number("checked_at", 1ull << 40));
    answer.rights = fields.rights("rights");
  });
}

}  // namespace layerd::peers
