#include "cache/blob_rows.h"

#include "cache/record.h"

namespace layerd::cache {
namespace {

std::string encoded(const BlobEntry& entry) {
  std::string text;
  put_u64(text, entry.facts.size);
  put_u64(text, static_cast<std::uint64_t>(entry.facts.mtime_ns));
  put_u64(text, entry.facts.inode);
  put_u64(text, static_cast<std::uint64_t>(entry.last_used));
  put_u8(text, entry.pinned ? 1 : 0);
  return text;
}

std::optional<BlobEntry> decoded_blob(ByteView text) {
  FieldReader reader(text);
  BlobEntry entry;
  entry.facts.size = reader.u64();
  entry.facts.mtime_ns = static_cast<std::int64_t>(reader.u64());
  entry.facts.inode = reader.u64();
  entry.last_used = static_cast<std::int64_t>(reader.u64());
  entry.pinned = reader.u8() != 0;
  return reader.ok() ? std::optional(entry) : std::nullopt;
}

std::optional<PartialEntry> decoded_partial(ByteView text) {
  FieldReader reader(text);
  PartialEntry entry;
  entry.bytes = reader.u64();
  entry.last_used = static_cast<std::int64_t>(reader.u64());
  return reader.ok() ? std::optional(entry) : std::nullopt;
}

std::string use_key(std::int64_t last_used, const Digest& digest) {
  std::string key;
  put_key_u64(key, static_cast<std::uint64_t>(std::max<std::int64_t>(last_used, 0)));
  return key + digest_key(digest);
}

ByteCount less(ByteCount from, ByteCount what) { return from > what ? from - what : 0; }

}  // namespace

BlobRows::BlobRows(Index& index) : index_(index) {
  const auto text = index_.get(Table::meta, "totals");
  if (!text) return;
  FieldReader reader(*text);
  totals_.bytes = reader.u64();
  totals_.blobs = reader.u64();
  totals_.partial_bytes = reader.u64();
  if (!reader.ok()) totals_ = {};
}

void BlobRows::put_totals() {
  std::string text;
  put_u64(text, totals_.bytes);
  put_u64(text, totals_.blobs);
  put_u64(text, totals_.partial_bytes);
  index_.put(Table::meta, "totals", std::move(text));
}

std::optional<BlobEntry> BlobRows::find(const Digest& digest) const {
  const auto text = index_.get(Table::blobs, digest_key(digest));
  return text ? decoded_blob(*text) : std::nullopt;
}

void BlobRows::put(const Digest& digest, const BlobEntry& entry) {
  const auto key = digest_key(digest);
  const auto before = find(digest);
  if (before && before->last_used != entry.last_used)
    index_.remove(Table::by_use, use_key(before->last_used, digest));
  if (!before || before->last_used != entry.last_used)
    index_.put(Table::by_use, use_key(entry.last_used, digest), {});
  index_.put(Table::blobs, key, encoded(entry));
  if (before && before->facts.size == entry.facts.size) return;
  totals_.bytes = less(totals_.bytes, before ? before->facts.size : 0) + entry.facts.size;
  totals_.blobs += before ? 0 : 1;
  put_totals();
}

void BlobRows::remove(const Digest& digest) {
  const auto before = find(digest);
  if (!before) return;
  index_.remove(Table::by_use, use_key(before->last_used, digest));
  index_.remove(Table::blobs, digest_key(digest));
  index_.remove(Table::units, digest_key(digest));
  totals_.bytes = less(totals_.bytes, before->facts.size);
  totals_.blobs = less(totals_.blobs, 1);
  put_totals();
}

bool BlobRows::is_pinned(const Digest& digest) const {
  return index_.get(Table::pins, digest_key(digest)).has_value();
}

void BlobRows::set_pin(const Digest& digest, bool pinned) {
  if (pinned)
    index_.put(Table::pins, digest_key(digest), {});
  else
    index_.remove(Table::pins, digest_key(digest));
  if (auto entry = find(digest)) {
    entry->pinned = pinned;
    put(digest, *entry);
  }
}

void BlobRows::mark_pinned() {
  std::vector<Digest> pinned;
  index_.scan(Table::pins, {}, [&](ByteView key, ByteView) {
    if (const auto digest = digest_from_key(key)) pinned.push_back(*digest);
    return true;
  });
  for (const auto& digest : pinned)
    if (const auto entry = find(digest); entry && !entry->pinned) set_pin(digest, true);
}

void BlobRows::by_use(std::optional<std::pair<std::int64_t, Digest>> after,
                      const std::function<bool(const Digest&, const BlobEntry&)>& row) const {
  const std::string from = after ? use_key(after->first, after->second) + '\0' : std::string();
  index_.scan(Table::by_use, from, [&](ByteView key, ByteView) {
    if (key.size() < 8) return true;
    const auto digest = digest_from_key(key.substr(8));
    const auto entry = digest ? find(*digest) : std::nullopt;
    return entry ? row(*digest, *entry) : true;
  });
}

void BlobRows::by_digest(const std::optional<Digest>& after,
                         const std::function<bool(const Digest&, const BlobEntry&)>& row) const {
  const std::string from = after ? digest_key(*after) + '\0' : std::string();
  index_.scan(Table::blobs, from, [&](ByteView key, ByteView value) {
    const auto digest = digest_from_key(key);
    const auto entry = decoded_blob(value);
    return digest && entry ? row(*digest, *entry) : true;
  });
}

std::optional<Digest> BlobRows::next_digest(const std::optional<Digest>& after) const {
  std::optional<Digest> found;
  by_digest(after, [&](const Digest& digest, const BlobEntry&) {
    found = digest;
    return false;
  });
  return found;
}

std::optional<PartialEntry> BlobRows::find_partial(const Digest& digest) const {
  const auto text = index_.get(Table::partials, digest_key(digest));
  return text ? decoded_partial(*text) : std::nullopt;
}

void BlobRows::put_partial(const Digest& digest, PartialEntry entry) {
  const auto before = find_partial(digest);
  totals_.partial_bytes = less(totals_.partial_bytes, before ? before->bytes : 0) + entry.bytes;
  std::string text;
  put_u64(text, entry.bytes);
  put_u64(text, static_cast<std::uint64_t>(entry.last_used));
  index_.put(Table::partials, digest_key(digest), std::move(text));
  put_totals();
}

void BlobRows::remove_partial(const Digest& digest) {
  const auto before = find_partial(digest);
  if (!before) return;
  totals_.partial_bytes = less(totals_.partial_bytes, before->bytes);
  index_.remove(Table::partials, digest_key(digest));
  put_totals();
}

void BlobRows::partials(const std::function<bool(const Digest&, const PartialEntry&)>& row) const {
  index_.scan(Table::partials, {}, [&](ByteView key, ByteView value) {
    const auto digest = digest_from_key(key);
    const auto entry = decoded_partial(value);
    return digest && entry ? row(*digest, *entry) : true;
  });
}

std::vector<Digest> BlobRows::units(const Digest& digest) const {
  const std::string row = index_.get(Table::units, digest_key(digest)).value_or("");
  std::vector<Digest> units;
  for (std::size_t at = 0; at + 32 <= row.size(); at += 32)
    units.push_back(Digest::from_raw(DigestAlgorithm::sha256, ByteView(row).substr(at, 32)));
  return units;
}

void BlobRows::put_units(const Digest& digest, std::string units) {
  index_.put(Table::units, digest_key(digest), std::move(units));
}

std::string BlobRows::note(ByteView name) const { return index_.get(Table::meta, name).value_or(""); }
void BlobRows::put_note(ByteView name, std::string value) { index_.put(Table::meta, name, std::move(value)); }
void BlobRows::remove_note(ByteView name) { index_.remove(Table::meta, name); }

}  // namespace layerd::cache
