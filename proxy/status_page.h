// The status page: one plain HTML page, made from figures, without script. Pure.
#pragma once

#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "proxy/downloads.h"
#include "proxy/exchange_log.h"

namespace layerd::proxy {

struct StatusFigures {
  std::string version;
  double uptime_seconds = 0;
  std::string trouble;  // empty: all is well; else one sentence
  ServedTally served;
  cache::StoreStats store;
  std::vector<DownloadStatus> downloads;
};

// Everything that came from outside is escaped.
std::string status_page(const StatusFigures& figures);

// "31.4 MiB"
std::string size_text(ByteCount bytes);

}  // namespace layerd::proxy
