// The folders in which runtimes keep TLS settings by host: docker's (*.crt, *.cert with *.key) and
// containerd's (hosts.toml), see protocol.md §6.3 and §1.7. Worker side: files are read.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "proxy/net/file_stamp.h"
#include "runtime/result.h"

namespace layerd::net {

struct CertsFolder {
  std::vector<std::string> ca_files;                        // trusted besides the system's
  std::vector<std::pair<std::string, std::string>> client;  // certificate and key; no key: in the same file
  bool skip_verify = false;
  std::vector<FileStamp> stamps;  // of what was looked at, there or not
  std::string complaint;          // what is there and cannot be used; empty: nothing
  // There is no folder, or it is about other things (a hosts.toml that names mirrors alone).
  bool says_nothing() const { return ca_files.empty() && client.empty() && !skip_verify; }
};

// What the first folder that is there says of host:port. For each of `roots` in order these names count:
// host:port and host_port_, and for port 443 host alone before them. containerd's rule for a folder with a
// hosts.toml holds: it alone counts, unless it cannot be parsed (a complaint; a warning in the log over
// there) or read. A folder that cannot be read is a complaint as well. Errors: config, naming the file:
// docker's rule that a .cert without a .key, or the other way round, is an error.
Result<CertsFolder> read_certs_folder(const std::vector<std::string>& roots, const std::string& host,
                                      std::uint16_t port);

// The files of such folders below `roots`, by their names: certificates, keys, hosts.toml. What cannot be
// read is left out.
std::vector<std::string> files_below(const std::vector<std::string>& roots);
// The certificates and keys that a hosts.toml names, wherever they lie, as read_certs_folder() asks for them.
// None where it cannot be read or parsed.
std::vector<std::string> files_named_by(const std::string& hosts_toml);

}  // namespace layerd::net
