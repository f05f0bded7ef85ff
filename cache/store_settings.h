// What a DiskStore is told. Plain values.
#pragma once

#include <string>

#include "cache/file_ops.h"
#include "runtime/clock.h"

namespace layerd::cache {

// An amount of bytes, or a share of the file system the store lies on.
struct SpaceLimit {
  ByteCount bytes = 0;
  double percent = -1;  // 0..100 takes the place of `bytes`; below zero: not used
  ByteCount of(ByteCount total) const {
    return percent < 0 ? bytes : static_cast<ByteCount>(static_cast<double>(total) * percent / 100);
  }
};

struct StoreSettings {
  std::string path;                                     // the store's own folder; made if it is missing
  SpaceLimit max_size{0, 20};                           // of all finished and partial blobs
  SpaceLimit min_free{0, 16};                           // of the file system, left to others
  Duration recheck = std::chrono::seconds(1);           // an open blob's file is looked at this often
  Duration again_within = std::chrono::seconds(60);     // asked for again after it was served whole
  Duration again_verify = std::chrono::hours(1);        // at most one such verification per blob
  Duration scrub_period = std::chrono::hours(30 * 24);  // the whole store once; zero: no scrub
  ByteCount scrub_bytes_per_second = 4_MiB;             // never faster than this
  Duration partial_keep = std::chrono::hours(7 * 24);   // an untouched partial download is removed
  Duration read_only_pause = std::chrono::seconds(30);  // after EIO or EROFS, before the next try
  // At start, before anything is served: after an unclean end the index is looked through for so long, else
  // made anew; the journal is taken in for so long, the rest beside the serving.
  Duration start_check = std::chrono::milliseconds(1500);
  Duration start_replay = std::chrono::seconds(2);
  ByteCount index_map_bytes = 256_MiB;  // where the index begins; it doubles when full
  FileOpsPtr files = std::make_shared<FileOps>();
};

}  // namespace layerd::cache
