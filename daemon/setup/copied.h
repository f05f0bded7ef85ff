// What a runtime was configured with, in the words of k3s's registries.yaml, which are layerd's own:
// where its registries are asked for, how to log in, which certificates count. Read from any runtime,
// written as a file that layerd's configuration names. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/config_yaml.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

struct CopiedMirror {
  std::vector<std::string> endpoints;
  std::vector<std::pair<std::string, std::string>> rewrite;
  bool default_endpoint = true;
  bool operator==(const CopiedMirror&) const = default;
};

struct CopiedHost {
  std::string username, password, identity_token, token;
  std::string ca_file, cert_file, key_file;
  bool skip_verify = false;
  bool operator==(const CopiedHost&) const = default;
  bool empty() const { return *this == CopiedHost{}; }
};

struct Copied {
  std::map<std::string, CopiedMirror> mirrors;  // by registry, or "*"
  std::map<std::string, CopiedHost> configs;    // by host[:port], or "*"
  bool operator==(const Copied&) const = default;
  bool empty() const { return mirrors.empty() && configs.empty(); }
};

// The tree of a registries.yaml. What cannot be used is left out, with a note that names file and line.
Copied read_copied(const std::string& file, const YamlNode& root, std::vector<std::string>& notes);
// The same as YAML, `head` in front as comment lines.
std::string copied_text(const Copied& copied, const std::string& head);
// Adds what `more` has and `all` has not; an entry that is there and differs is noted: `of` names whose
// it is.
void merge_copied(Copied& all, const Copied& more, const std::string& of, std::vector<std::string>& notes);
// Drops endpoints and hosts that are layerd itself.
void drop_endpoint(Copied& copied, std::string_view url);
// user:password from its base64 form. Errors: config, without the text.
Result<std::pair<std::string, std::string>> split_auth(std::string_view base64);
// Every text in it that must not be shown, base64 forms as well.
std::vector<std::string> secrets_of(const Copied& copied);

}  // namespace layerd::daemon::setup
