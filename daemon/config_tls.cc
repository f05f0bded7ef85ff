#include "daemon/config_tls.h"

#include <sys/stat.h>
#include <unistd.h>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/tls_files.h"

namespace layerd::daemon {
namespace {

// What cannot be opened is told by ConfigReader::readable_file.
bool can_be_read(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode) && ::access(path.c_str(), R_OK) == 0;
}

void warn_of_dates(const YamlNode& node, std::string_view key, const std::string& path,
                   const std::vector<net::CertificateFacts>& certificates, ConfigReader& reader) {
  const WallTime now = std::chrono::system_clock::now();
  for (const auto& facts : certificates) {
    if (facts.not_after < now)
      reader.warn(node, fmt::format("{}: the certificate \"{}\" in {} expired on {}", key, facts.subject,
                                    path, net::time_text(facts.not_after)));
    else if (now < facts.not_before)
      reader.warn(node, fmt::format("{}: the certificate \"{}\" in {} is valid only from {}", key,
                                    facts.subject, path, net::time_text(facts.not_before)));
  }
}

void check_certificates(const YamlNode& node, std::string_view key, const std::string& path,
                        ConfigReader& reader) {
  auto certificates = net::describe_certificates(path);
  if (!certificates)
    return reader.file_problem(node, fmt::format("{}: {}", key, certificates.error().message));
  // Of a bundle some are always old; of one or two they are what is meant.
  if (certificates->size() <= 4) warn_of_dates(node, key, path, *certificates, reader);
}

void check_pair(const YamlNode& node, std::string_view key, const registry::HostSettings& host,
                ConfigReader& reader) {
  if (!can_be_read(host.cert_file) || !can_be_read(host.key_file)) return;
  if (!net::read_certificates(host.cert_file) || !net::read_key(host.key_file)) return;  // told already
  if (auto pair = net::read_client_certificate(host.cert_file, host.key_file); !pair)
    reader.file_problem(node, fmt::format("{}: {}", key, pair.error().message));
}

}  // namespace

void read_ca_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
  auto name = reader.readable_file(node, key, false);
  if (!name) return;
  if (can_be_read(*name)) check_certificates(node, key, *name, reader);
  out.settings.ca_file = std::move(*name);
}

void read_ca_dir(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
  auto name = reader.path(node, key);
  if (!name) return;
  out.settings.ca_dir = *name;
  if (name->empty()) return;
  auto files = net::certificate_files_in(*name);
  if (!files) return reader.file_problem(node, fmt::format("{}: {}", key, files.error().message));
  if (files->empty())
    return reader.file_problem(node, fmt::format("{}: {} holds no *.crt, *.pem or *.cer", key, *name));
  for (const std::string& file : *files) check_certificates(node, key, file, reader);
}

void read_min_version(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  if (*word == "1.2")
    out.settings.tls_minor = 2;
  else if (*word == "1.3")
    out.settings.tls_minor = 3;
  else
    reader.error(node, fmt::format("{}: \"{}\" is no version that layerd speaks; possible here: 1.2, 1.3",
                                   key, printable(*word, 20)));
}

void read_cert_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
  auto name = reader.readable_file(node, key, false);
  if (!name) return;
  if (can_be_read(*name)) check_certificates(node, key, *name, reader);
  out.settings.cert_file = std::move(*name);
  if (!out.settings.key_file.empty()) check_pair(node, key, out.settings, reader);
}

void read_key_file(const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
  auto name = reader.readable_file(node, key, true);
  if (!name) return;
  if (can_be_read(*name)) {
    if (auto read = net::read_key(*name); !read)
      reader.file_problem(node, fmt::format("{}: {}", key, read.error().message));
  }
  out.settings.key_file = std::move(*name);
  if (!out.settings.cert_file.empty()) check_pair(node, key, out.settings, reader);
}

void read_certs_dirs(const YamlNode& node, std::string_view key, std::vector<std::string>& out,
                     ConfigReader& reader) {
  const auto list = reader.texts(node, key, false);
  if (!list) return;
  out.clear();
  for (const auto& [text, at] : *list) {
    auto path = reader.path(*at, key);
    if (path && !path->empty()) out.push_back(std::move(*path));
  }
}

}  // namespace layerd::daemon
