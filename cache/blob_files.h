// What is done to finished blobs' files. Worker side: values in, Results out.
#pragma once

#include <memory>
#include <string>

#include "cache/file_ops.h"
#include "cache/layout.h"
#include "runtime/digest.h"

namespace layerd::cache {

struct OpenedFile {
  FilePtr file;
  FileFacts facts;
};

// Errors: not_found, local_io.
Result<OpenedFile> open_blob_file(FileOps& files, const Layout& layout, const Digest& digest);

// A whole small object to its place: written beside, synced, renamed, the folder synced.
Result<OpenedFile> store_blob_file(FileOps& files, const Layout& layout, const Digest& digest,
                                   const std::string& temporary, ByteView content);

// A verification under way: the file and the hash of what has been read so far.
struct VerifyState {
  FilePtr file;
  FileFacts facts;
  Hasher hasher;
  ByteCount offset = 0;
};

// Reads and hashes up to `most` bytes more. False: the end of the file is not reached yet.
// gently: what was not in memory before does not stay there.
Result<bool> verify_slice(FileOps& files, VerifyState& state, ByteCount most, bool gently);

// To the quarantine folder, which keeps the newest few.
Result<Ok> quarantine_file(FileOps& files, const Layout& layout, const std::string& path,
                           const std::string& name);
// Where in the quarantine a file of that name would lie.
std::string quarantine_path(const Layout& layout, const Digest& digest, std::int64_t unix_seconds);
void trim_quarantine(FileOps& files, const Layout& layout);

}  // namespace layerd::cache
