#include "proxy/upstream/credentials.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/digest.h"
#include "runtime/file.h"

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostPasswordBytes = 64u << 10;
constexpr std::size_t kMostFiles = 256;

// Editors and `echo` end a file with a line break that is no part of the password.
std::string without_line_end(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

NodeCredentialsPtr make_credentials(registry::Credentials value) {
  if (value.empty()) return nullptr;
  std::string all;
  for (const auto* part : {&value.username, &value.password, &value.identity_token, &value.registry_token}) {
    all += fmt::format("{}:", part->size());
    all += *part;
  }
  auto identity = digest_of(DigestAlgorithm::sha256, all).hex();
  return std::make_shared<const NodeCredentials>(NodeCredentials{std::move(value), std::move(identity)});
}

// Worker side.
Result<CredentialSource::PasswordFile> CredentialSource::read(const std::string& path,
                                                              const PasswordFile& known) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    return Error{Errc::config,
                 fmt::format("cannot read the password file {}: {}", path, std::strerror(errno)), errno};
  const Stamp stamp{status.st_mtim.tv_sec, status.st_mtim.tv_nsec, static_cast<std::uint64_t>(status.st_size),
                    status.st_ino, status.st_dev};
  if (stamp == known.stamp) return known;
  auto text = read_file(path, kMostPasswordBytes);
  if (!text)
    return Error{Errc::config, fmt::format("cannot read the password file: {}", text.error().message),
                 text.error().sys_errno};
  return PasswordFile{stamp, without_line_end(std::move(*text))};
}

Ticket CredentialSource::find(const registry::HostSettingsPtr& settings, Done<NodeCredentialsPtr> done) {
  if (settings->password_file.empty()) {
    auto found = make_credentials(settings->credentials);
    return loop_.post(
        [found = std::move(found), done = std::move(done)]() mutable { done(std::move(found)); });
  }
  const auto& path = settings->password_file;
  const auto known = files_->find(path);
  return workers_.run<PasswordFile>(
      "password file",
      [path, before = known == files_->end() ? PasswordFile() : known->second] { return read(path, before); },
      [files = files_, settings, done = std::move(done)](Result<PasswordFile> file) mutable {
        if (!file) return done(std::move(file).error());
        if (files->size() >= kMostFiles) files->clear();
        (*files)[settings->password_file] = *file;
        auto credentials = settings->credentials;
        credentials.password = std::move(file->password);
        done(make_credentials(std::move(credentials)));
      });
}

}  // namespace layerd::upstream
