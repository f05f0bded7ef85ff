// IndexCatalog: Catalog over the store's index and journal. Loop thread.
#pragma once

#include "cache/catalog.h"
#include "cache/index.h"

namespace layerd::cache {

class IndexCatalog final : public Catalog {
 public:
  explicit IndexCatalog(Index& index) : index_(index) {}

  std::optional<TagRecord> tag(const RepositoryKey& repository, std::string_view tag) const override;
  void put_tag(const RepositoryKey& repository, std::string_view tag, TagRecord record) override;
  std::optional<ManifestRecord> manifest(const Digest& digest) const override;
  void put_manifest(const Digest& digest, ManifestRecord record) override;
  void put_links(const RepositoryKey& repository, std::vector<Link> links) override;
  std::optional<Link> link(const RepositoryKey& repository, const Digest& digest) const override;
  std::optional<RepositoryRecord> repository(const RepositoryKey& repository) const override;
  void put_repository(const RepositoryKey& repository, RepositoryRecord record) override;
  std::optional<std::string> grant(std::string_view key) const override;
  void put_grant(std::string_view key, std::string_view value) override;
  void remove_grant(std::string_view key) override;
  void each_grant(std::string_view from,
                  const std::function<bool(std::string_view, std::string_view)>& row) const override;
  void each_tag(const std::function<bool(const RepositoryKey&, std::string_view, const TagRecord&)>& row)
      const override;
  void remove_tag(const RepositoryKey& repository, std::string_view tag) override;

 private:
  Index& index_;
};

}  // namespace layerd::cache
