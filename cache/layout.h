// Where things lie below the store's folder (docs/formats.md). Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "runtime/digest.h"

namespace layerd::cache {

class Layout {
 public:
  explicit Layout(std::string root) : root_(std::move(root)) {}
  const std::string& root() const { return root_; }
  // The two folder levels of finished blobs, and the file itself.
  std::string blob_folder(DigestAlgorithm algorithm, unsigned first_byte) const;
  std::string blob_folder(const Digest& digest) const;
  std::string blob(const Digest& digest) const;
  std::string partial_folder() const { return root_ + "/partial"; }
  std::string partial(const Digest& digest) const;
  std::string ranges(const Digest& digest) const { return partial(digest) + ".ranges"; }
  std::string temporary(std::uint64_t number) const;
  std::string quarantine_folder() const { return root_ + "/quarantine"; }
  std::string index_folder() const { return root_ + "/index"; }
  std::string set_aside_index() const { return root_ + "/index.bad"; }
  std::string journal() const { return root_ + "/journal"; }
  std::string lock() const { return root_ + "/lock"; }
  std::string format() const { return root_ + "/format"; }
  std::string clean() const { return root_ + "/clean"; }

 private:
  std::string root_;
};

// The digest a file in partial/ belongs to ("sha256-<hex>" or that with ".ranges"); nothing if none.
std::optional<Digest> digest_of_partial(const std::string& file_name);

}  // namespace layerd::cache
