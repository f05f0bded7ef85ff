#include "cache/blob_files.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>

namespace layerd::cache {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::size_t kQuarantineFiles = 8;
constexpr ByteCount kQuarantineBytes = 256_MiB;

}  // namespace

Result<OpenedFile> open_blob_file(FileOps& files, const Layout& layout, const Digest& digest) {
  auto file = files.open(layout.blob(digest), O_RDONLY | O_NOFOLLOW);
  if (!file) return std::move(file).error();
  auto facts = files.facts(**file);
  if (!facts) return std::move(facts).error();
  return OpenedFile{*file, *facts};
}

Result<OpenedFile> store_blob_file(FileOps& files, const Layout& layout, const Digest& digest,
                                   const std::string& temporary, ByteView content) {
  auto file = files.open(temporary, O_RDWR | O_CREAT | O_TRUNC);
  if (!file) return std::move(file).error();
  Result<Ok> step = files.write_at(**file, 0, content);
  if (step) step = files.sync(**file, false);
  if (step) step = files.make_folder(layout.blob_folder(digest));
  if (step) step = files.rename(temporary, layout.blob(digest));
  if (!step) {
    static_cast<void>(files.remove(temporary));
    return std::move(step).error();
  }
  if (auto synced = files.sync_folder(layout.blob_folder(digest)); !synced) return std::move(synced).error();
  return open_blob_file(files, layout, digest);
}

Result<bool> verify_slice(FileOps& files, VerifyState& state, ByteCount most, bool gently) {
  const auto end = state.offset + most;
  while (state.offset < end) {
    const auto size = std::min<ByteCount>(kReadBytes, end - state.offset);
    auto bytes = gently ? files.read_at_gently(*state.file, state.offset, size)
                        : files.read_at(*state.file, state.offset, size);
    if (!bytes) return std::move(bytes).error();
    if (bytes->empty()) return true;
    state.hasher.update(bytes->view());
    state.offset += bytes->size();
  }
  return false;
}

std::string quarantine_path(const Layout& layout, const Digest& digest, std::int64_t unix_seconds) {
  return fmt::format("{}/{}-{}-{}", layout.quarantine_folder(), name_of(digest.algorithm()), digest.hex(),
                     unix_seconds);
}

Result<Ok> quarantine_file(FileOps& files, const Layout& layout, const std::string& path,
                           const std::string& name) {
  auto moved = files.rename(path, name);
  if (!moved && moved.error().code == Errc::not_found) return Ok{};
  trim_quarantine(files, layout);
  return moved;
}

void trim_quarantine(FileOps& files, const Layout& layout) {
  auto entries = files.list(layout.quarantine_folder(), 1000);
  if (!entries) return;
  std::sort(entries->begin(), entries->end(),
            [](const FolderEntry& a, const FolderEntry& b) { return a.facts.mtime_ns > b.facts.mtime_ns; });
  ByteCount kept = 0;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    kept += (*entries)[i].facts.size;
    if (i < kQuarantineFiles && kept <= kQuarantineBytes) continue;
    kept -= (*entries)[i].facts.size;
    static_cast<void>(files.remove(layout.quarantine_folder() + "/" + (*entries)[i].name));
  }
}

}  // namespace layerd::cache
