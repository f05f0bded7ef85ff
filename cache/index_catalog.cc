#include "cache/index_catalog.h"

#include "cache/record.h"

namespace layerd::cache {
namespace {

constexpr std::size_t kMostGrantBytes = 256;

std::string pair_key(ByteView first, ByteView second) {
  std::string key(first);
  key.push_back('\0');
  key.append(second);
  return key;
}

void put_digest(std::string& out, const Digest& digest) { put_text(out, digest_key(digest)); }

std::optional<Digest> take_digest(FieldReader& reader) { return digest_from_key(reader.text()); }

// The whole name is in the value too, since a long key is only a hash.
struct TagRow {
  std::string repository, tag;
  TagRecord record;
};

std::string encoded(const TagRow& row) {
  std::string text;
  put_text(text, row.repository);
  put_text(text, row.tag);
  put_digest(text, row.record.digest);
  put_text(text, row.record.media_type);
  put_u64(text, row.record.size);
  put_u64(text, static_cast<std::uint64_t>(row.record.checked_at));
  return text;
}

std::optional<TagRow> decoded_tag(ByteView text) {
  FieldReader reader(text);
  TagRow row{reader.text(), reader.text(), {}};
  const auto digest = take_digest(reader);
  row.record.media_type = reader.text();
  row.record.size = reader.u64();
  row.record.checked_at = static_cast<std::int64_t>(reader.u64());
  if (!reader.ok() || !digest) return std::nullopt;
  row.record.digest = *digest;
  return row;
}

}  // namespace

std::optional<TagRecord> IndexCatalog::tag(const RepositoryKey& repository, std::string_view tag) const {
  const auto text = index_.get(Table::tags, pair_key(repository, tag));
  const auto row = text ? decoded_tag(*text) : std::nullopt;
  if (!row || row->repository != repository || row->tag != tag) return std::nullopt;
  return row->record;
}

void IndexCatalog::put_tag(const RepositoryKey& repository, std::string_view tag, TagRecord record) {
  index_.put(Table::tags, pair_key(repository, tag),
             encoded({repository, std::string(tag), std::move(record)}));
}

void IndexCatalog::remove_tag(const RepositoryKey& repository, std::string_view tag) {
  index_.remove(Table::tags, pair_key(repository, tag));
}

void IndexCatalog::each_tag(
    const std::function<bool(const RepositoryKey&, std::string_view, const TagRecord&)>& row) const {
  index_.scan(Table::tags, {}, [&](ByteView, ByteView value) {
    const auto found = decoded_tag(value);
    return found ? row(found->repository, found->tag, found->record) : true;
  });
}

std::optional<ManifestRecord> IndexCatalog::manifest(const Digest& digest) const {
  const auto text = index_.get(Table::manifests, digest_key(digest));
  if (!text) return std::nullopt;
  FieldReader reader(*text);
  ManifestRecord record{reader.text(), reader.u64()};
  return reader.ok() ? std::optional(record) : std::nullopt;
}

void IndexCatalog::put_manifest(const Digest& digest, ManifestRecord record) {
  std::string text;
  put_text(text, record.media_type);
  put_u64(text, record.size);
  if (index_.get(Table::manifests, digest_key(digest)) != text)
    index_.put(Table::manifests, digest_key(digest), std::move(text));
}

void IndexCatalog::put_links(const RepositoryKey& repository, std::vector<Link> links) {
  for (const auto& link : links) {
    std::string text;
    put_u8(text, static_cast<std::uint8_t>(link.kind));
    put_u64(text, link.size);
    put_text(text, link.media_type);
    const auto key = pair_key(repository, digest_key(link.digest));
    if (index_.get(Table::links, key) != text) index_.put(Table::links, key, std::move(text));
  }
}

std::optional<Link> IndexCatalog::link(const RepositoryKey& repository, const Digest& digest) const {
  const auto text = index_.get(Table::links, pair_key(repository, digest_key(digest)));
  if (!text) return std::nullopt;
  FieldReader reader(*text);
  Link link;
  link.digest = digest;
  link.kind = static_cast<LinkKind>(reader.u8());
  link.size = reader.u64();
  link.media_type = reader.text();
  return reader.ok() ? std::optional(link) : std::nullopt;
}

std::optional<RepositoryRecord> IndexCatalog::repository(const RepositoryKey& repository) const {
  const auto text = index_.get(Table::repositories, repository);
  if (!text) return std::nullopt;
  FieldReader reader(*text);
  RepositoryRecord record;
  record.repository_class = static_cast<RepositoryClass>(reader.u8());
  record.checked_at = static_cast<std::int64_t>(reader.u64());
  return reader.ok() ? std::optional(record) : std::nullopt;
}

void IndexCatalog::put_repository(const RepositoryKey& repository, RepositoryRecord record) {
  std::string text;
  put_u8(text, static_cast<std::uint8_t>(record.repository_class));
  put_u64(text, static_cast<std::uint64_t>(record.checked_at));
  index_.put(Table::repositories, repository, std::move(text));
}

std::optional<std::string> IndexCatalog::grant(std::string_view key) const {
  return index_.get(Table::grants, key);
}

void IndexCatalog::put_grant(std::string_view key, std::string_view value) {
  LAYERD_CHECK(value.size() <= kMostGrantBytes);
  index_.put(Table::grants, key, std::string(value));
}

void IndexCatalog::remove_grant(std::string_view key) { index_.remove(Table::grants, key); }

void IndexCatalog::each_grant(std::string_view from,
                              const std::function<bool(std::string_view, std::string_view)>& row) const {
  index_.scan(Table::grants, from, row);
}

}  // namespace layerd::cache
