#include "proxy/upstream/credentials.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/digest.h"
#include "runtime/guarded_file.h"

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostPasswordBytes = 64u << 10;
constexpr std::size_t kMostFiles = 256;

// Editors and `echo` end a file with a line break that is no part of the password.
std::string without_line_end(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

Error unusable(std::string message, int sys_errno) {
  return {Errc::config, std::move(message), sys_errno, 0, "credentials_unusable", {}};
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

void CredentialSource::set_rules(registry::CredentialRulesPtr rules) {
  rules_ = std::move(rules);
  troubles_->clear();  // of files that may not be named any more
}

Ticket CredentialSource::look_at_files(Callback<void()> done) {
  LAYERD_ON_LOOP(loop_);
  return docker_configs_.look_now(
      rules_->docker_configs,
      [done = std::move(done)](const Result<std::vector<DockerConfigState>>&) mutable { done(); });
}

std::vector<std::string> CredentialSource::file_troubles() const {
  auto sentences = docker_configs_.troubles();
  for (const auto& [path, trouble] : *troubles_) sentences.push_back(trouble);
  return sentences;
}

// Worker side.
Result<CredentialSource::PasswordFile> CredentialSource::read(const std::string& path,
                                                              const PasswordFile& known) {
  struct stat status {};
  // In a folder that only root may enter it has no stamp, and is read each time.
  const int failed = ::stat(path.c_str(), &status) == 0 ? 0 : errno;
  if (failed != 0 && failed != EACCES)
    return unusable(fmt::format("cannot read the password file {}: {}", path, std::strerror(failed)), failed);
  const Stamp stamp{status.st_mtim.tv_sec, status.st_mtim.tv_nsec, static_cast<std::uint64_t>(status.st_size),
                    status.st_ino, status.st_dev};
  if (stamp == known.stamp && failed == 0) return known;
  auto text = read_guarded(path, kMostPasswordBytes);
  if (!text)
    return unusable(fmt::format("cannot read the password file: {}", text.error().message),
                    text.error().sys_errno);
  return PasswordFile{stamp, without_line_end(std::move(*text))};
}

Ticket CredentialSource::read_password(const registry::HostSettingsPtr& settings,
                                       Done<NodeCredentialsPtr> done) {
  const auto& path = settings->password_file;
  const auto known = files_->find(path);
  return workers_.run<PasswordFile>(
      "password file",
      [path, before = known == files_->end() ? PasswordFile() : known->second] { return read(path, before); },
      [files = files_, troubles = troubles_, settings,
       done = std::move(done)](Result<PasswordFile> file) mutable {
        troubles->erase(settings->password_file);
        if (!file && troubles->size() < kMostFiles)
          troubles->emplace(settings->password_file, file.error().message);
        if (!file) return done(std::move(file).error());
        if (files->size() >= kMostFiles) files->clear();
        (*files)[settings->password_file] = *file;
        auto credentials = settings->credentials;
        credentials.password = std::move(file->password);
        done(make_credentials(std::move(credentials)));
      });
}

// One find(): the sources one after the other. Held by its Ticket.
class CredentialSource::Lookup final : public Pending<FoundCredentials> {
 public:
  Lookup(CredentialSource& source, const registry::Endpoint& endpoint, Done<FoundCredentials> done)
      : Pending<FoundCredentials>(std::move(done)),
        source_(source),
        rules_(source.rules_),
        settings_(endpoint.settings),
        place_(registry::place_of(endpoint)),
        is_configured_(endpoint.configured) {}

  void start() {
    if (!settings_->password_file.empty()) {
      pending_ = source_.read_password(settings_, [this](Result<NodeCredentialsPtr> credentials) {
        if (!credentials) return answer(std::move(credentials).error());
        use(std::move(*credentials));
      });
      return;
    }
    auto own = make_credentials(settings_->credentials);
    if (!own) found_.steps.push_back(why_not_configs());
    if (own || rules_->empty()) {
      pending_ = source_.loop_.post([this, own] { use(own); });
      return;
    }
    if (rules_->docker_configs.empty()) {
      pending_ = source_.loop_.post([this] { next_helper(); });
      return;
    }
    pending_ = source_.docker_configs_.get(rules_->docker_configs,
                                           [this](Result<std::vector<DockerConfigState>> files) {
                                             if (!files) return answer(std::move(files).error());
                                             files_ = std::move(*files);
                                             next_file();
                                           });
  }

 private:
  void on_cancel() noexcept override { pending_.reset(); }

  CredentialStep why_not_configs() const {
    std::string near;
    for (const auto& host : rules_->config_hosts)
      if (const auto key = registry::parse_registry_key(host);
          key && near.size() < 300 && registry::is_near_miss(*key, place_))
        near += (near.empty() ? "" : ", ") + host;
    if (near.empty()) return {fmt::format("configs has no auth for {}", place_.authority()), {}};
    return {fmt::format("configs has auth for {}, but not for {}", near, place_.authority()),
            "credentials_other_host"};
  }

  void next_file() {
    while (file_ < files_.size()) {
      const auto& file = files_[file_++];
      if (!file.trouble.empty()) found_.steps.push_back({file.trouble, "credentials_unusable"});
      if (!file.config) continue;
      auto choice = registry::choose(*file.config, place_);
      switch (choice.kind) {
        case registry::DockerChoice::Kind::credentials:
          remark(*file.config, choice.credentials.source);
          return use(make_credentials(std::move(choice.credentials)));
        case registry::DockerChoice::Kind::helper:
          return ask({registry::HelperKind::docker, choice.helper, {}, {}, place_, choice.said},
                     choice.is_named);
        case registry::DockerChoice::Kind::none:
          found_.steps.push_back({std::move(choice.said), std::move(choice.diagnosis)});
      }
    }
    next_helper();
  }

  // Problems of a file begin with the key of the entry they are about, which its source ends with.
  void remark(const registry::DockerConfig& config, const std::string& source) {
    for (const auto& problem : config.problems)
      if (source.ends_with(problem.substr(0, problem.find(": ")))) found_.remarks.push_back(problem);
  }

  void next_helper() {
    while (helper_ < rules_->helpers.size()) {
      const auto& rule = rules_->helpers[helper_++];
      const auto said = fmt::format("credentials.helpers {} for \"{}\"", rule.helper, rule.match.text());
      const bool matches = rule.match.matches(place_.authority()) ||
                           rule.match.matches(place_.authority() + "/" + place_.path);
      if (!matches) {
        found_.steps.push_back({said + " does not match", {}});
      } else if (rule.match.is_everything() && !is_configured_) {
        // A client chooses names freely; what is meant for all goes to those the configuration names.
        found_.steps.push_back(
            {fmt::format("{} is asked only for registries that the configuration names, add "
                         "configs: {{\"{}\": {{}}}}",
                         said, place_.authority()),
             "credentials_other_host"});
      } else {
        return ask({rule.kind, rule.helper, rule.arguments, rule.environment, place_, said}, true);
      }
    }
    answer(std::move(found_));
  }

  // is_certain: the helper was meant for this registry, so that its failure is the answer.
  void ask(HelperRequest request, bool is_certain) {
    asked_ = std::move(request);
    pending_ = source_.helpers_.ask(asked_, [this, is_certain](Result<HelperAnswer> given) {
      if (!given && is_certain) return answer(std::move(given).error());
      if (!given) {
        found_.steps.push_back({given.error().message, "credentials_unusable"});
      } else if (given->credentials.empty()) {
        found_.steps.push_back(
            {fmt::format("{} ({}) has none for {}", program_of(asked_), asked_.source, place_.authority()),
             {}});
      } else {
        found_.helper = asked_;
        found_.is_fresh = given->is_fresh;
        return use(make_credentials(std::move(given->credentials)));
      }
      next_file();
    });
  }

  void use(NodeCredentialsPtr credentials) {
    found_.credentials = std::move(credentials);
    answer(std::move(found_));
  }

  CredentialSource& source_;
  const registry::CredentialRulesPtr rules_;
  const registry::HostSettingsPtr settings_;
  const registry::RegistryPlace place_;
  const bool is_configured_;
  FoundCredentials found_;
  std::vector<DockerConfigState> files_;
  std::size_t file_ = 0, helper_ = 0;
  HelperRequest asked_;
  Ticket pending_;
};

Ticket CredentialSource::find(const registry::Endpoint& endpoint, Done<FoundCredentials> done) {
  LAYERD_ON_LOOP(loop_);
  auto lookup = std::make_shared<Lookup>(*this, endpoint, std::move(done));
  lookup->start();
  return Ticket(lookup);
}

std::string FoundCredentials::near_misses() const {
  std::string all;
  for (const auto& step : steps)
    if (!step.diagnosis.empty() && all.size() < 1000) all += (all.empty() ? "" : "; ") + step.said;
  return all;
}

// What cannot be used before what is for others: it is nearer to what was meant.
std::string FoundCredentials::diagnosis() const {
  std::string told;
  for (const auto& step : steps)
    if (!step.diagnosis.empty() && told != "credentials_unusable") told = step.diagnosis;
  return told;
}

}  // namespace layerd::upstream
