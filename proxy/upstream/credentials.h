// Where the credentials for an endpoint come from. Today: what `configs` says of its host, the
// password from a file if one is named. The one place to add further sources. Loop thread; files are
// read by a worker.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "proxy/registry/endpoint.h"
#include "runtime/loop.h"
#include "runtime/ticket.h"
#include "runtime/workers.h"

namespace layerd::upstream {

// Credentials and what tells them from others without showing them.
struct NodeCredentials {
  registry::Credentials value;
  std::string identity;  // a hash over all of value; equal credentials have equal identities
};
// Null: none are configured.
using NodeCredentialsPtr = std::shared_ptr<const NodeCredentials>;

NodeCredentialsPtr make_credentials(registry::Credentials value);

class CredentialSource {
 public:
  CredentialSource(Loop& loop, Workers& workers) : loop_(loop), workers_(workers) {}

  // Answers null if `settings` name no credentials. A password file is read again when its size,
  // time or inode changed. Errors: config, naming a password file that cannot be read.
  Ticket find(const registry::HostSettingsPtr& settings, Done<NodeCredentialsPtr> done);

 private:
  struct Stamp {
    std::int64_t seconds = 0, nanoseconds = 0;
    std::uint64_t size = 0, inode = 0, device = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct PasswordFile {
    Stamp stamp;
    std::string password;
  };
  static Result<PasswordFile> read(const std::string& path, const PasswordFile& known);

  Loop& loop_;
  Workers& workers_;
  // Shared with the answers under way, which may outlive one configuration.
  std::shared_ptr<std::map<std::string, PasswordFile>> files_ =
      std::make_shared<std::map<std::string, PasswordFile>>();
};

}  // namespace layerd::upstream
