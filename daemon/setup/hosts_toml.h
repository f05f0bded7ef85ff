// One hosts.toml of containerd (protocol.md §1.7): what it says, and the same with layerd in front.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/setup/copied.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

inline constexpr std::string_view kWritten = "# Written by `layerd setup ";  // how a file of ours begins

// What one host is asked with; relative files as written.
struct HostsEntry {
  std::string url;                        // empty: the registry's own address
  std::vector<std::string> capabilities;  // empty: all
  std::vector<std::string> ca;
  std::vector<std::pair<std::string, std::string>> client;  // certificate, key ("": in one file)
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<std::pair<std::string, std::string>> rewrite;  // k3s's addition
  bool skip_verify = false, override_path = false;
  bool may_pull() const;
};

struct HostsFile {
  std::vector<HostsEntry> hosts;  // in the order written
  HostsEntry server;              // what comes last; url as written, may be empty
  bool is_generated = false;      // by k3s or RKE2, which write it anew at their start
};

// Errors: config, with file and line. containerd itself only logs such an error and then leaves the
// whole file out.
Result<HostsFile> read_hosts(const std::string& file, std::string_view text);

struct HostsWish {
  std::string url;     // layerd
  bool close = false;  // nobody is asked after layerd but other hosts of the file
  std::string tool;    // "layerd setup containerd", for the comment
  // Of k3s: layerd is asked by the rewritten name as all other endpoints are.
  std::vector<std::pair<std::string, std::string>> rewrite = {};
  std::string behind = {};  // this URL stays in front of layerd
};

// `text` (nothing: a new file) with layerd as first host. A file that has it already is answered as it
// is. `certificates` are the files of the folder that containerd reads when there is no hosts.toml:
// they are named in a new one, since containerd leaves them out from then on.
Result<std::string> with_layerd(const std::string& file, const std::optional<std::string>& text,
                                const HostsWish& wish, const std::vector<std::string>& certificates = {});
// Without what with_layerd() added; nothing if that was all there is.
Result<std::optional<std::string>> without_layerd(const std::string& file, const std::string& text,
                                                  const std::string& url);

// ca.crt, client.cert, client.key and the like among `names`, as containerd sorts them.
HostsEntry certificates_of(const std::vector<std::string>& names);

// What the file says of `registry` ("*": of all others), as layerd's own configuration has it. `folder`
// is where relative files lie. Headers and hosts that layerd cannot ask are noted.
void copy_hosts(const HostsFile& file, const std::string& path, const std::string& folder,
                const std::string& registry, const std::string& layerd_url, Copied& copied,
                std::vector<std::string>& notes, std::vector<std::string>& secrets);

// The folder name of a registry: host, host_port_, _default for "*". And back; empty for other names.
std::string hosts_folder(const std::string& registry);
std::string registry_of_folder(const std::string& name);

}  // namespace layerd::daemon::setup
