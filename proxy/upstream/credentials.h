// Where the credentials for an endpoint come from: `configs`, then the docker config files, then the
// credential helpers, in the order of the configuration; the first that has some decides
// (docs/credentials.md). The one place to add further sources. Loop thread; files are read by a worker,
// helpers are processes of their own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/registry/credential_rules.h"
#include "proxy/registry/endpoint.h"
#include "proxy/upstream/credential_helpers.h"
#include "proxy/upstream/docker_configs.h"
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

// One source that was looked at and had nothing, with the reason, for people.
struct CredentialStep {
  std::string said;       // "/etc/x.json has an entry for a.example, but not for b.example/app"
  std::string diagnosis;  // "credentials_unusable", "credentials_other_host", or empty: nothing near
};

struct FoundCredentials {
  NodeCredentialsPtr credentials;       // null: none; ask anonymously
  std::vector<CredentialStep> steps;    // what was looked at before, in order
  std::vector<std::string> remarks;     // what is odd about the entry that gave them, for people
  std::optional<HelperRequest> helper;  // that gave them
  bool is_fresh = true;                 // false: kept from an earlier run of the helper
  // For the error of a refusal when there are none: the steps that came near. Both may be empty.
  std::string near_misses() const;
  std::string diagnosis() const;
};

class CredentialSource {
 public:
  // References outlive this.
  CredentialSource(Loop& loop, Workers& workers, Children& children, Metrics& metrics)
      : loop_(loop), workers_(workers), docker_configs_(loop, workers), helpers_(loop, children, metrics) {}
  CredentialSource(const CredentialSource&) = delete;
  CredentialSource& operator=(const CredentialSource&) = delete;

  // From the next find() on. Never null.
  void set_rules(registry::CredentialRulesPtr rules);

  // Looks at the docker config files, so that what is wrong with one is known before a pull needs it.
  Ticket look_at_files(Callback<void()> done);
  // What is wrong with whole files, docker configs and passwords, as far as they were looked at: one sentence
  // each, for people. None holds a secret.
  std::vector<std::string> file_troubles() const;

  // Files are read again when they changed. Errors: config, naming a password file that cannot be read
  // or a helper that failed. `endpoint` is not kept. Outlives its Tickets.
  Ticket find(const registry::Endpoint& endpoint, Done<FoundCredentials> done);
  // The registry refused what this helper gave: it is asked again at the next find().
  void forget(const HelperRequest& helper) { helpers_.forget(helper); }

 private:
  class Lookup;
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
  Ticket read_password(const registry::HostSettingsPtr& settings, Done<NodeCredentialsPtr> done);

  Loop& loop_;
  Workers& workers_;
  DockerConfigs docker_configs_;
  CredentialHelpers helpers_;
  registry::CredentialRulesPtr rules_ = std::make_shared<const registry::CredentialRules>();
  // Shared with the answers under way, which may outlive one configuration.
  std::shared_ptr<std::map<std::string, PasswordFile>> files_ =
      std::make_shared<std::map<std::string, PasswordFile>>();
  // By the path of the password file; shared likewise.
  std::shared_ptr<std::map<std::string, std::string>> troubles_ =
      std::make_shared<std::map<std::string, std::string>>();
};

}  // namespace layerd::upstream
