#include "daemon/setup/session.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "daemon/config_values.h"
#include "daemon/setup/diff.h"
#include "daemon/setup/own_config.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kRecords = "/var/lib/layerd-setup/";

// Where a runtime of this node reaches the first of these addresses.
std::string reachable(const std::vector<std::string>& addresses) {
  std::string first;
  for (const auto& text : addresses) {
    auto address = parse_listen(text);
    if (!address) continue;
    if (address->host == "0.0.0.0") address->host = "127.0.0.1";
    if (address->host == "::") address->host = "::1";
    if (address->host == "127.0.0.1") return address->str();
    if (first.empty()) first = address->str();
  }
  return first;
}

// An alias that renames a whole registry, or only some of its repositories.
void sort_aliases(const registry::RulesInput& rules, Input& input) {
  for (const auto& alias : rules.aliases) {
    const auto slash = alias.from.find('/');
    const std::string host = alias.from.substr(0, slash);
    if (host.find('*') != std::string::npos || alias.from == alias.to) continue;
    const bool whole = slash == std::string::npos || alias.from.substr(slash) == "/**";
    auto& list = whole ? input.closed_hosts : input.partly_closed_hosts;
    if (std::find(list.begin(), list.end(), host) == list.end()) list.push_back(host);
  }
}

std::string registry_of(const std::string& image) {
  auto name = registry::parse_image_name(image);
  return name ? name->registry : std::string();
}

bool may_read(const struct stat& info, uid_t uid, gid_t gid, unsigned bit) {
  if (info.st_uid == uid) return (info.st_mode & bit << 6) != 0;
  if (info.st_gid == gid) return (info.st_mode & bit << 3) != 0;
  return (info.st_mode & bit) != 0;
}

// By the bits of modes alone, on the file and every folder above it.
bool readable_by(const std::string& path, uid_t uid, gid_t gid) {
  if (uid == 0) return true;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !may_read(info, uid, gid, 4)) return false;
  for (auto slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1))
    if (::stat(path.substr(0, slash).c_str(), &info) != 0 || !may_read(info, uid, gid, 1)) return false;
  return true;
}

}  // namespace

Session::Session(SessionOptions options, DaemonLink& daemon, Programs& programs, Say say, Pull pull)
    : options_(std::move(options)),
      daemon_(daemon),
      programs_(programs),
      say_(std::move(say)),
      pull_(std::move(pull)),
      files_(options_.root),
      runtime_(make_runtime(options_.runtime)),
      applier_(record_folder(options_.runtime), options_.at_step) {}

std::string Session::record_folder(const std::string& runtime) const {
  return files_.real(kRecords + runtime);
}

std::string Session::registries_path() const {
  return options_.config_path.substr(0, options_.config_path.rfind('/') + 1) + "runtimes.yaml";
}

Result<Ok> Session::run() {
  if (!runtime_)
    return {Errc::config, fmt::format("\"{}\" is no runtime that setup knows", options_.runtime)};
  if (auto found = find_daemon(); !found) return found;
  if (auto read = read_records(); !read) return read;
  if (options_.dry_run) say_what_was_broken_off();
  if (!options_.dry_run)
    if (auto recovered = recover(); !recovered) return recovered;
  if (options_.undo) return undo();
  if (auto looked = look(); !looked) return looked;
  if (options_.verify) return verify();
  if (auto planned = plan_own(); !planned) return planned;
  for (const auto* list : {&own_, &plan_.changes})
    if (auto good = check_places(*list); !good) return good;
  say_notes();
  if (plan_.changes.empty() && own_.empty()) return nothing_to_do();
  say_diffs({&own_, &plan_.changes}, "would write", "writes");
  if (!options_.dry_run) return set_up();
  for (const auto& todo : plan_.todo) say_("afterwards: " + todo);
  say_("nothing was changed");
  return Ok{};
}

Result<Ok> Session::find_daemon() {
  auto status = daemon_.status();
  runs_ = status.ok();
  if (!runs_ && !options_.dry_run && !options_.undo)
    return {status.error().code,
            status.error().message +
                "; setup points a runtime at layerd only after a pull through it: start it first"};
  return choose_url(runs_ ? *status : Json::object());
}

// By what the daemon says it listens on, or by the configuration.
Result<Ok> Session::choose_url(const Json& status) {
  std::vector<std::string> addresses;
  const Json* config = json_find(status, "config");
  const std::string file = config ? json_string(*config, "file") : options_.config_path;
  const bool is_relative = !file.empty() && !file.starts_with('/');  // to a folder that only the daemon knows
  if (file != options_.config_path && !(is_relative && options_.config_path.ends_with("/" + file)))
    return {Errc::config, fmt::format("the daemon runs with {}, not with {}; name its file with --config",
                                      file, options_.config_path)};
  const Json* list = json_find(status, "listen");
  for (const auto& row : list && list->is_array() ? *list : Json::array())
    if (row.is_string()) addresses.push_back(row.get<std::string>());
  for (const auto& address : options_.settings->listen)
    if (!list) addresses.push_back(address.str());
  listen_ = reachable(addresses);
  if (listen_.empty()) return {Errc::config, "layerd listens on no address that a runtime could ask"};
  input_.url = "http://" + listen_;
  return Ok{};
}

// One setup at a time, since runtimes share files. An --undo where nothing was ever set up makes nothing.
Result<Ok> Session::read_records() {
  const std::string folder = files_.real(kRecords);
  struct stat info {};
  const bool is_idle = options_.dry_run || (options_.undo && ::stat(folder.c_str(), &info) != 0);
  if (!is_idle)
    if (auto taken = lock_.take(folder); !taken) return taken;
  if (auto open = applier_.open(!is_idle); !open) return open;
  for (const auto& name : runtime_names()) {
    if (name == options_.runtime) continue;
    auto record = load_record(record_folder(name));
    if (!record) return std::move(record).error();
    others_[name] = std::move(*record);
  }
  return Ok{};
}

Result<Ok> Session::check_places(const std::vector<FileChange>& changes) const {
  for (const auto& change : changes)
    if (auto good = check_place(change.path, files_.root(), change.for_daemon); !good) return good;
  return Ok{};
}

Result<Ok> Session::go_on() const {
  if (!options_.is_interrupted()) return Ok{};
  return {Errc::canceled, "setup was interrupted"};
}

Result<Ok> Session::look() {
  const std::string trace = runtime_->found(files_);
  if (trace.empty())
    return {Errc::not_found, fmt::format("no {} was found below {}", runtime_->name(),
                                         options_.root.empty() ? "/" : options_.root)};
  say_(fmt::format("{}: {}", runtime_->name(), trace));
  auto images = runtime_->images(files_, programs_);
  if (images)
    images_ = std::move(*images);
  else
    plan_.notes.push_back(
        fmt::format("the node's images are not known ({}); registries that have no entry yet go by "
                    "the default entry",
                    images.error().message));
  for (const auto* list : {&images_, &options_.images})
    for (const auto& image : *list)
      if (auto host = registry_of(image); !host.empty()) input_.image_hosts.push_back(std::move(host));
  input_.keep_fallback = !options_.no_fallback;
  sort_aliases(options_.settings->rules, input_);
  auto plan = runtime_->plan(files_, input_);
  if (!plan) return std::move(plan).error();
  if (!files_.problems().empty()) return {Errc::denied, files_.problems().front()};
  plan->notes.insert(plan->notes.begin(), plan_.notes.begin(), plan_.notes.end());
  plan_ = std::move(*plan);
  if (!listen_.starts_with("127.") && !listen_.starts_with("[::1]"))
    plan_.notes.push_back(
        fmt::format("layerd listens on {}, which is no loopback address: a runtime with HTTP_PROXY set asks "
                    "its proxy for it unless NO_PROXY names it",
                    listen_));
  for (const auto& host : input_.partly_closed_hosts)
    if (input_.keep_fallback)
      plan_.notes.push_back(
          fmt::format("an alias renames some repositories of {0}: without layerd {0} itself may answer for "
                      "these names, since it stays open for all others; --no-fallback closes it",
                      host));
  return Ok{};
}

Copied Session::copied_of_others(std::vector<std::pair<std::string, Copied>>* all) const {
  Copied others;
  std::vector<std::string> ignored;
  for (const auto& name : runtime_names()) {
    if (name == options_.runtime) {
      if (all) all->emplace_back(name, plan_.copied);
      continue;
    }
    const auto record = others_.find(name);
    if (record == others_.end() || record->second.copied.empty()) continue;
    auto root = read_yaml(name, record->second.copied);
    if (!root) continue;
    Copied copied = read_copied(name, *root, ignored);
    merge_copied(others, copied, name, ignored);
    if (all) all->emplace_back(name, std::move(copied));
  }
  return others;
}

// Who keeps the cache is who the daemon runs as. The cache of a node below --root is there, or here.
std::optional<std::pair<uid_t, gid_t>> Session::daemon_owner() const {
  struct stat info {};
  for (const auto& path : {files_.real(options_.settings->cache_path), options_.settings->cache_path})
    if (::stat(path.c_str(), &info) == 0) return std::pair<uid_t, gid_t>(info.st_uid, info.st_gid);
  return std::nullopt;
}

Result<Ok> Session::plan_own() {
  OwnFiles own;
  own.config = options_.config_path;
  own.registries = registries_path();
  own.url = input_.url;
  own.runtimes_own = plan_.registries_file;
  own.daemon_owner = daemon_owner();
  auto config = read_if_there(own.config), registries = read_if_there(own.registries);
  if (!config) return std::move(config).error();
  if (!registries) return std::move(registries).error();
  own.config_text = std::move(*config);
  own.registries_text = std::move(*registries);
  const auto user = own.daemon_owner.value_or(std::pair<uid_t, gid_t>(0, 0));
  for (auto& [host, settings] : plan_.copied.configs)
    for (std::string* file : {&settings.ca_file, &settings.cert_file, &settings.key_file})
      if (!file->empty()) *file = files_.real(*file);
  adopt_files(
      plan_.copied, own.config.substr(0, own.config.rfind('/')) + "/from-" + options_.runtime,
      [&](const std::string& path) { return readable_by(path, user.first, user.second); },
      [](const std::string& path) { return read_if_there(path) ? *read_if_there(path) : std::nullopt; },
      own.daemon_owner, own_, plan_.notes);
  drop_endpoint(plan_.copied, input_.url);
  std::vector<std::pair<std::string, Copied>> all;
  copied_of_others(&all);
  for (const auto& [name, copied] : all)
    for (auto& secret : secrets_of(copied)) plan_.secrets.push_back(std::move(secret));
  auto changes = plan_own_files(own, all, plan_.notes);
  if (!changes) return std::move(changes).error();
  own_.insert(own_.end(), changes->begin(), changes->end());
  return Ok{};
}

void Session::say_notes() const {
  std::set<std::string> said;
  for (const auto& note : plan_.notes)
    if (said.insert(note).second) say_("note: " + masked(note, plan_.secrets));
}

void Session::say_diffs(const std::vector<const std::vector<FileChange>*>& lists, const char* would,
                        const char* does) const {
  for (const auto* list : lists)
    for (const auto& change : *list) {
      say_(fmt::format("{} {}: {}", options_.dry_run ? would : does, change.path, change.what));
      if (options_.dry_run) say_(unified_diff(change, plan_.secrets));
    }
}

// What another runtime's setup wrote counts for this one as well: noted, so that the undo of the other
// leaves it.
Result<Ok> Session::nothing_to_do() {
  say_(fmt::format("nothing to do: {} asks layerd already", runtime_->name()));
  const Record& known = applier_.record();
  const bool others =
      std::any_of(others_.begin(), others_.end(), [](const auto& other) { return !other.second.empty(); });
  const std::string copied = copied_text(plan_.copied, "");
  if (options_.dry_run || (known.empty() && !others)) return Ok{};
  if (known.copied == copied && known.uses == plan_.uses) return Ok{};
  return applier_.commit(copied, plan_.uses);
}

Result<Ok> Session::set_up() {
  std::vector<FileChange> all = own_;
  all.insert(all.end(), plan_.changes.begin(), plan_.changes.end());
  if (auto willing = go_on(); !willing) return willing;
  if (auto begun = applier_.begin(all); !begun) return begun;
  if (auto written = write_own(); !written) return back(std::move(written).error());
  if (auto probed = probe(); !probed) return back(std::move(probed).error());
  if (auto pointed = point(); !pointed) return back(std::move(pointed).error());
  if (auto willing = go_on(); !willing) return back(std::move(willing).error());
  if (auto done = applier_.commit(copied_text(plan_.copied, ""), plan_.uses); !done)
    return back(std::move(done).error());
  for (const auto& todo : plan_.todo) say_("to do: " + todo);
  say_(fmt::format("{} asks layerd at {}{}; copies of the old files: {}", runtime_->name(), input_.url,
                   plan_.todo.empty() ? "" : ", once that is done", record_folder(options_.runtime)));
  return Ok{};
}

Result<Ok> Session::write_own() {
  for (const auto& change : own_)
    if (auto written = applier_.write(change); !written) return written;
  return own_.empty() ? Result<Ok>(Ok{}) : daemon_.reload();
}

Result<Ok> Session::point() {
  for (const auto& change : plan_.changes)
    if (auto written = applier_.write(change); !written) return written;
  for (const auto& change : plan_.changes) {
    auto now = read_if_there(change.path);
    if (!now || *now != change.after)
      return {Errc::local_io, change.path + " does not hold what was written to it; somebody else writes it"};
  }
  return plan_.todo.empty() ? check_arrival() : Result<Ok>(Ok{});
}

}  // namespace layerd::daemon::setup
