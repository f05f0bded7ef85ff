#include "daemon/setup/docker.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/containerd.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kFile = "/etc/docker/daemon.json";
constexpr const char* kKey = "registry-mirrors";

std::size_t skip_text(const std::string& text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at + 1;
}

// Where the value of a key of the outermost object begins; npos if it is not there. The text is valid JSON.
std::size_t value_of(const std::string& text, const std::string& key) {
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{' || text[at] == '[') ++depth;
    if (text[at] == '}' || text[at] == ']') --depth;
    if (text[at] != '"') continue;
    const std::size_t end = skip_text(text, at);
    const std::size_t colon = text.find_first_not_of(" \t\r\n", end);
    const bool is_key = depth == 1 && colon != std::string::npos && text[colon] == ':' &&
                        text.substr(at + 1, end - at - 2) == key;
    if (is_key) return text.find_first_not_of(" \t\r\n", colon + 1);
    at = end - 1;
  }
  return std::string::npos;
}

Result<Json> read_daemon(const std::string& file, const std::string& text) {
  auto root = parse_json(text);
  if (!root) return {Errc::config, file + ": " + root.error().message};
  if (!root->is_object()) return {Errc::config, file + ": an object ({…}) was expected"};
  const Json* mirrors = json_find(*root, kKey);
  if (mirrors && !mirrors->is_array())
    return {Errc::config, fmt::format("{}: \"{}\" must be a list of URLs", file, kKey)};
  return root;
}

std::vector<std::string> mirrors_of(const Json& root) {
  std::vector<std::string> urls;
  const Json* list = json_find(root, kKey);
  for (const auto& row : list && list->is_array() ? *list : Json::array())
    if (row.is_string()) urls.push_back(row.get<std::string>());
  return urls;
}

bool has(const std::vector<std::string>& urls, const std::string& url) {
  return std::any_of(urls.begin(), urls.end(), [&](const auto& each) { return same_endpoint(each, url); });
}

// dockerd does not start when it is told one thing by a flag and in daemon.json. The file with the flag.
std::string file_with_flag(FileSource& files) {
  std::vector<std::string> places{"/etc/default/docker", "/etc/sysconfig/docker"};
  for (const std::string folder : {"/etc/systemd/system/", "/usr/lib/systemd/system/"}) {
    places.push_back(folder + "docker.service");
    for (const auto& name : files.list(folder + "docker.service.d"))
      places.push_back(folder + "docker.service.d/" + name);
  }
  for (const auto& place : places) {
    const std::string text = files.read(place).value_or("");
    for (const auto line : registry::split(text, '\n'))
      if (!registry::trim(line).starts_with('#') && line.find("--registry-mirror") != std::string_view::npos)
        return files.real(place);
  }
  return {};
}

bool has_containerd_store(const Json& root) {
  const Json* features = json_find(root, "features");
  const Json* store = features ? json_find(*features, "containerd-snapshotter") : nullptr;
  return store && store->is_boolean() && store->get<bool>();
}

}  // namespace

Result<std::string> with_docker_mirror(const std::string& file, const std::optional<std::string>& text,
                                       const std::string& url) {
  const std::string quoted = dump_json(Json(url));
  if (!text || text->find_first_not_of(" \t\r\n") == std::string::npos)
    return fmt::format("{{\n  \"{}\": [{}]\n}}\n", kKey, quoted);
  auto root = read_daemon(file, *text);
  if (!root) return std::move(root).error();
  const auto urls = mirrors_of(*root);
  if (has(urls, url)) return *text;
  std::string out = *text;
  if (const std::size_t at = value_of(out, kKey); at != std::string::npos) {
    out.insert(at + 1, quoted + (urls.empty() ? "" : ", "));
  } else {
    const std::size_t open = out.find('{');
    const bool empty = root->empty();
    out.insert(open + 1, fmt::format("\n  \"{}\": [{}]{}", kKey, quoted, empty ? "\n" : ","));
  }
  auto check = read_daemon(file, out);
  if (!check || mirrors_of(*check).size() != urls.size() + 1 || mirrors_of(*check).front() != url)
    return {Errc::config,
            fmt::format("{}: setup cannot add to it by itself; write \"{}\": [{}] there and run setup again",
                        file, kKey, quoted)};
  return out;
}

Result<std::string> without_docker_mirror(const std::string& file, const std::string& text,
                                          const std::string& url) {
  auto root = read_daemon(file, text);
  if (!root) return std::move(root).error();
  const auto urls = mirrors_of(*root);
  if (!has(urls, url)) return text;
  const std::string quoted = dump_json(Json(url));
  const std::size_t at = value_of(text, kKey), found = text.find(quoted, at);
  if (found == std::string::npos)
    return {Errc::config, fmt::format("{}: take {} out of \"{}\" by hand", file, url, kKey)};
  std::size_t end = found + quoted.size();
  end = text.find_first_not_of(" \t\r\n", end);
  if (end != std::string::npos && text[end] == ',') end = text.find_first_not_of(" \t\r\n", end + 1);
  std::string out = text.substr(0, found) + text.substr(end);
  auto check = read_daemon(file, out);
  if (!check || has(mirrors_of(*check), url))
    return {Errc::config, fmt::format("{}: take {} out of \"{}\" by hand", file, url, kKey)};
  return out;
}

Result<Plan> plan_docker(FileSource& files, const Input& input) {
  if (const auto place = file_with_flag(files); !place.empty())
    return {Errc::config,
            fmt::format("{} starts dockerd with --registry-mirror, and dockerd does not start with that and "
                        "\"{}\" in {}. Move the mirror into that file and run setup again",
                        place, kKey, files.real(kFile))};
  Plan plan;
  FileChange change;
  change.path = files.real(kFile);
  change.before = files.read(kFile);
  auto after = with_docker_mirror(change.path, change.before, input.url);
  if (!after) return std::move(after).error();
  auto root = read_daemon(change.path, *after);
  if (!root) return std::move(root).error();
  CopiedMirror copied;
  for (const auto& url : mirrors_of(*root))
    if (!same_endpoint(url, input.url) && registry::parse_endpoint(url)) copied.endpoints.push_back(url);
  if (!copied.endpoints.empty()) plan.copied.mirrors.emplace("docker.io", std::move(copied));
  change.after = std::move(*after);
  change.what = "Docker Hub: layerd is asked first";
  plan.hosts = {"docker.io"};
  add_change(plan, std::move(change));
  if (!plan.changes.empty())
    plan.todo.push_back("docker reads registry-mirrors again without a restart: systemctl reload docker");
  plan.notes.push_back(
      "docker asks a mirror for images of Docker Hub only; images of other registries pass layerd by, "
      "unless docker has the containerd image store (features.containerd-snapshotter)");
  if (!input.keep_fallback || !input.closed_hosts.empty() || !input.partly_closed_hosts.empty())
    plan.notes.push_back(
        "docker asks Docker Hub itself when layerd refuses, and has no setting against that: an alias under "
        "docker.io is not closed here");
  if (has_containerd_store(*root)) {
    if (auto done = plan_hosts_folder(files, input, {"/etc/docker/certs.d", "layerd setup docker"}, plan);
        !done)
      return std::move(done).error();
  }
  return plan;
}

}  // namespace layerd::daemon::setup
