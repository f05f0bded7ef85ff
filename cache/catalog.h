// Catalog: what the bytes of blobs cannot tell. Tags, media types, which manifest links which
// digest, the class of repositories, who was allowed what. Opaque keys: the proxy makes them.
//
// LMDB holds the rows for look-up; a checksummed journal beside it holds them for the day the index
// is lost (docs/formats.md). Reads are point look-ups on the loop; writes are queued, batched in one
// transaction on a worker, visible to reads of this process at once. Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/digest.h"

namespace layerd::cache {

// "registry/repository" (resolved, e.g. "registry-1.docker.io/library/alpine" is kept under
// "docker.io/library/alpine"). Never a tag or digest in it.
using RepositoryKey = std::string;

struct TagRecord {
  Digest digest;
  std::string media_type;
  std::uint64_t size = 0;
  std::int64_t checked_at = 0;  // unix seconds of the last upstream answer that confirmed it
};

struct ManifestRecord {  // by digest alone: what the file's bytes do not say by themselves
  std::string media_type;
  std::uint64_t size = 0;
};

// How a digest came to belong to a repository.
enum class LinkKind : std::uint8_t {
  manifest = 1,   // served as a manifest of this repository by upstream
  listed = 2,     // a manifest of this repository lists it (child, config or layer)
  confirmed = 3,  // upstream confirmed the blob for this repository
  told = 4,       // a manifest that only a member of the site brought lists it (proxy/links)
};

struct Link {
  Digest digest;
  LinkKind kind = LinkKind::listed;
  std::uint64_t size = 0;  // from the descriptor, 0 if unknown
  std::string media_type;  // from the descriptor or the answer
};

enum class RepositoryClass : std::uint8_t { unknown = 0, open = 1, node = 2, client = 3 };

struct RepositoryRecord {
  RepositoryClass repository_class = RepositoryClass::unknown;
  std::int64_t checked_at = 0;  // unix seconds
};

class Catalog {
 public:
  virtual ~Catalog() = default;

  virtual std::optional<TagRecord> tag(const RepositoryKey& repository, std::string_view tag) const = 0;
  virtual void put_tag(const RepositoryKey& repository, std::string_view tag, TagRecord record) = 0;

  virtual std::optional<ManifestRecord> manifest(const Digest& digest) const = 0;
  virtual void put_manifest(const Digest& digest, ManifestRecord record) = 0;

  // All links of one manifest in one batch.
  virtual void put_links(const RepositoryKey& repository, std::vector<Link> links) = 0;
  virtual std::optional<Link> link(const RepositoryKey& repository, const Digest& digest) const = 0;

  virtual std::optional<RepositoryRecord> repository(const RepositoryKey& repository) const = 0;
  virtual void put_repository(const RepositoryKey& repository, RepositoryRecord record) = 0;

  // Grants ("who was allowed what"): opaque key made by proxy/access, value opaque, <= 256 bytes.
  virtual std::optional<std::string> grant(std::string_view key) const = 0;
  virtual void put_grant(std::string_view key, std::string_view value) = 0;
  virtual void remove_grant(std::string_view key) = 0;
  // Calls `row` for each grant, in key order from `from` on, until it answers false. It must not write.
  virtual void each_grant(std::string_view from,
                          const std::function<bool(std::string_view, std::string_view)>& row) const = 0;

  // For `cache ls`: calls `row` for each tag, in key order, until it answers false.
  virtual void each_tag(
      const std::function<bool(const RepositoryKey&, std::string_view, const TagRecord&)>& row) const = 0;
  virtual void remove_tag(const RepositoryKey& repository, std::string_view tag) = 0;
};

}  // namespace layerd::cache
