#include "proxy/net/certs_folder.h"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "proxy/net/address.h"
#include "proxy/net/hosts_toml.h"
#include "proxy/net/tls_files.h"
#include "runtime/guarded_file.h"

namespace layerd::net {
namespace {

constexpr std::uint16_t kHttps = 443;

void complain(CertsFolder& out, const std::string& what) {
  out.complaint += (out.complaint.empty() ? "" : "; ") + what;
}

// One that is there and shut is no reason to fail: most hosts need nothing of it.
bool is_readable_folder(const std::string& folder, CertsFolder& out) {
  struct stat found {};
  if (stat(folder.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) return false;
  if (access(folder.c_str(), R_OK | X_OK) == 0) return true;
  complain(out,
           fmt::format("{} cannot be read: {}; its certificates are not used", folder, owner_of(folder)));
  return false;
}

// What is below it can neither be found nor named.
bool is_shut(const std::string& root) {
  struct stat found {};
  return stat((root + "/.").c_str(), &found) != 0 && errno == EACCES;
}

std::vector<std::string> names_of(const std::string& host, std::uint16_t port) {
  const std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  std::vector<std::string> names;
  if (port == kHttps) names.push_back(text);
  names.push_back(fmt::format("{}:{}", text, port));
  names.push_back(fmt::format("{}_{}_", text, port));
  return names;
}

// Does this URL, or host[:port], of a hosts.toml mean host:port over TLS?
bool means(std::string_view url, const std::string& host, std::uint16_t port) {
  if (url.starts_with("http://")) return false;
  if (url.starts_with("https://")) url.remove_prefix(8);
  url = url.substr(0, url.find('/'));
  const auto parsed = parse_host_port(url, kHttps);
  return parsed && parsed->host == host && parsed->port == port;
}

std::string absolute(const std::string& folder, const std::string& name) {
  return name.starts_with('/') ? name : folder + "/" + name;
}

void add(const HostsTomlTls& tls, const std::string& folder, CertsFolder& out) {
  for (const auto& name : tls.ca) out.ca_files.push_back(absolute(folder, name));
  for (const auto& [certificate, key] : tls.client)
    out.client.emplace_back(absolute(folder, certificate), key.empty() ? "" : absolute(folder, key));
  out.skip_verify = out.skip_verify || tls.skip_verify;
}

// False: there is none that counts.
bool read_containerds(const std::string& folder, const std::string& host, std::uint16_t port,
                      CertsFolder& out) {
  const std::string path = folder + "/hosts.toml";
  out.stamps.push_back(FileStamp::of(path));
  auto text = read_guarded(path, kMostHostsToml);
  if (!text) {
    if (text.error().code != Errc::not_found) complain(out, text.error().message);
    return false;
  }
  auto parsed = parse_hosts_toml(*text);
  if (!parsed) {
    complain(out, fmt::format("{} {}; as for containerd the *.crt, *.cert and *.key beside it count", path,
                              parsed.error().message));
    return false;
  }
  if (parsed->server.empty() || means(parsed->server, host, port)) add(parsed->top, folder, out);
  for (const auto& [url, tls] : parsed->hosts) {
    if (means(url, host, port)) add(tls, folder, out);
  }
  return true;
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  DIR* dir = opendir(folder.c_str());
  if (!dir) return Error{Errc::config, errno_error("cannot read the folder " + folder, errno).message};
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir)) {
    if (names.size() < kMostFilesOfFolder) names.emplace_back(entry->d_name);
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_of_certs_folder(std::string_view name) {
  if (name == "hosts.toml") return true;
  static constexpr std::array<std::string_view, 5> kEndings{".crt", ".cert", ".key", ".pem", ".cer"};
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [name](std::string_view ending) { return name.ends_with(ending); });
}

// NAME.cert and NAME.key are a pair, *.crt are CAs.
Result<Ok> read_dockers(const std::string& folder, CertsFolder& out) {
  auto names = names_in(folder);
  if (!names) return std::move(names).error();
  const std::set<std::string> all(names->begin(), names->end());
  for (const std::string& name : *names) {
    const std::string path = folder + "/" + name;
    if (name.ends_with(".crt")) out.ca_files.push_back(path);
    const std::string stem = name.substr(0, name.rfind('.'));
    if (name.ends_with(".cert")) {
      if (!all.contains(stem + ".key"))
        return Error{
            Errc::config,
            fmt::format("{} has no {}.key beside it (a CA belongs into a file named *.crt)", path, stem)};
      out.client.emplace_back(path, folder + "/" + stem + ".key");
    }
    if (name.ends_with(".key") && !all.contains(stem + ".cert"))
      return Error{Errc::config,
                   fmt::format("{} has no {}.cert beside it (*.crt files are CAs)", path, stem)};
  }
  return Ok{};
}

}  // namespace

Result<CertsFolder> read_certs_folder(const std::vector<std::string>& roots, const std::string& host,
                                      std::uint16_t port) {
  CertsFolder out;
  if (host.empty() || host.front() == '.' || host.find('/') != std::string::npos) return out;
  for (const std::string& root : roots) {
    if (is_shut(root)) {
      complain(out,
               fmt::format("{} cannot be read: {}; its certificates are not used", root, owner_of(root)));
      continue;
    }
    for (const std::string& name : names_of(host, port)) {
      const std::string folder = root + "/" + name;
      out.stamps.push_back(FileStamp::of(folder));
      if (!is_readable_folder(folder, out)) continue;
      if (read_containerds(folder, host, port, out)) return out;
      if (auto read = read_dockers(folder, out); !read) return std::move(read).error();
      return out;
    }
  }
  return out;
}

std::vector<std::string> files_below(const std::vector<std::string>& roots) {
  std::vector<std::string> files;
  for (const std::string& root : roots) {
    const auto folders = names_in(root);
    if (!folders) continue;
    for (const std::string& folder : *folders) {
      if (folder.starts_with('.')) continue;
      const auto names = names_in(root + "/" + folder);
      if (!names) continue;
      for (const std::string& name : *names)
        if (is_of_certs_folder(name)) files.push_back(root + "/" + folder + "/" + name);
    }
  }
  return files;
}

std::vector<std::string> files_named_by(const std::string& hosts_toml) {
  const auto text = read_guarded(hosts_toml, kMostHostsToml);
  const auto parsed = text ? parse_hosts_toml(*text) : Result<HostsToml>(Error(text.error()));
  if (!parsed) return {};
  CertsFolder all;
  const std::string folder = hosts_toml.substr(0, hosts_toml.rfind('/'));
  add(parsed->top, folder, all);
  for (const auto& host : parsed->hosts) add(host.second, folder, all);
  std::vector<std::string> files = std::move(all.ca_files);
  for (auto& [certificate, key] : all.client)
    for (auto* name : {&certificate, &key})
      if (!name->empty()) files.push_back(std::move(*name));
  return files;
}

}  // namespace layerd::net
