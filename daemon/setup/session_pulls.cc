// The pulls of session.h: the probe before a runtime is pointed at layerd, the one behind it, and
// --verify; and the way back, --undo.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "daemon/setup/diff.h"
#include "daemon/setup/own_config.h"
#include "daemon/setup/session.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {
namespace {

constexpr std::size_t kMostProbes = 5;
constexpr const char* kKnownImage = "docker.io/library/hello-world:latest";

std::string registry_of(const std::string& image) {
  auto name = registry::parse_image_name(image);
  return name ? name->registry : std::string();
}

// Without the line that is exactly this.
std::string without_top_line(const std::string& text, const std::string& line) {
  for (auto at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) {
    const std::size_t end = at + line.size();
    const bool is_line = (at == 0 || text[at - 1] == '\n') && (end == text.size() || text[end] == '\n');
    if (is_line) return text.substr(0, at) + text.substr(std::min(text.size(), end + 1));
  }
  return text;
}

}  // namespace

// One image of each registry first, since that is what differs most.
std::vector<std::string> Session::candidates() const {
  if (!options_.images.empty()) return options_.images;
  std::vector<std::string> chosen;
  std::set<std::string> hosts;
  for (const bool new_host : {true, false})
    for (const auto& image : images_)
      if (chosen.size() < kMostProbes && hosts.insert(registry_of(image)).second == new_host &&
          std::find(chosen.begin(), chosen.end(), image) == chosen.end())
        chosen.push_back(image);
  if (chosen.empty()) chosen.push_back(kKnownImage);
  return chosen;
}

Result<Ok> Session::probe() {
  std::string failures;
  for (const auto& image : candidates()) {
    auto pulled = pull_(listen_, image);
    if (pulled) {
      say_(fmt::format("probe: {} came through layerd ({} bytes, {})", pulled->image, pulled->bytes,
                       pulled->source));
      probed_ = image;
      return Ok{};
    }
    failures += (failures.empty() ? "" : "; ") + masked(pulled.error().message, plan_.secrets);
  }
  return {Errc::upstream_unreachable, fmt::format("no image came through layerd, so {} was not pointed at "
                                                  "it: {}; name one that must work with --image",
                                                  runtime_->name(), failures)};
}

Result<std::int64_t> Session::asked(const std::string& host) {
  auto status = daemon_.status();
  if (!status) return std::move(status).error();
  const Json* counts = json_find(*status, "asked");
  return counts ? json_int(*counts, host.c_str()) : 0;
}

// The runtime itself pulls what the probe pulled; layerd must hear of it.
Result<Ok> Session::check_arrival() {
  const std::string host = registry_of(probed_);
  auto before = asked(host);
  if (!before) return std::move(before).error();
  auto pulled = runtime_->test_pull(files_, programs_, probed_);
  if (!pulled && pulled.error().code == Errc::not_found) {
    say_(fmt::format("{}: not tried with the runtime itself ({})", runtime_->name(), pulled.error().message));
    return Ok{};
  }
  auto after = asked(host);
  if (!after) return std::move(after).error();
  if (*after > *before) {
    say_(fmt::format("{}: {} is asked for at layerd", runtime_->name(), probed_));
    return Ok{};
  }
  return {Errc::upstream_unreachable,
          fmt::format("{} was pointed at layerd and does not ask it for {}{}", runtime_->name(), probed_,
                      pulled ? "" : ": " + masked(pulled.error().message, plan_.secrets))};
}

std::string Session::image_of(const std::string& host) const {
  for (const auto* list : {&options_.images, &images_})
    for (const auto& image : *list)
      if (registry_of(image) == host) return image;
  return {};
}

Result<Ok> Session::verify() {
  std::vector<std::string> silent;
  for (const auto& host : plan_.hosts) {
    const std::string image = image_of(host);
    if (image.empty()) {
      say_(fmt::format("-  {}: the node has no image of it; name one with --image", host));
      continue;
    }
    auto before = asked(host);
    if (!before) return std::move(before).error();
    auto pulled = runtime_->test_pull(files_, programs_, image);
    if (!pulled && pulled.error().code == Errc::not_found) return std::move(pulled).error();
    auto after = asked(host);
    if (!after) return std::move(after).error();
    const bool arrives = *after > *before;
    if (!arrives) silent.push_back(host);
    std::string line = fmt::format("{} {}: ", arrives ? "ok" : "NO", host);
    line += arrives ? fmt::format("{} requests for {} arrived", *after - *before, image)
                    : fmt::format("{} was asked for elsewhere, nothing arrived", image);
    if (!pulled) line += "; the pull itself failed: " + masked(pulled.error().message, plan_.secrets);
    // What arrives and is refused is pulled past layerd.
    if (auto through = pull_(listen_, image); arrives && !through)
      line += "; but it does not come through layerd: " + masked(through.error().message, plan_.secrets);
    say_(line);
  }
  if (silent.empty()) return Ok{};
  std::string list;
  for (const auto& host : silent) list += (list.empty() ? "" : ", ") + host;
  return {Errc::upstream_unreachable,
          fmt::format("{} does not ask layerd for {}; `layerd setup {} --dry-run` shows what is missing",
                      runtime_->name(), list, options_.runtime)};
}

// What other runtimes brought stays: the file is theirs as well. Without any, the line that names the
// file goes with it, whoever changed config.yaml since.
Result<std::vector<FileChange>> Session::undo_changes() const {
  const std::string registries =
      options_.config_path.substr(0, options_.config_path.rfind('/') + 1) + "runtimes.yaml";
  const Copied others = copied_of_others(nullptr);
  auto changes = applier_.undo_changes([&](const std::string& path, const std::string& text) {
    if (path == registries || path == options_.config_path)
      return Result<std::optional<std::string>>(std::optional<std::string>(text));
    return runtime_->without_layerd(path, text, input_.url);
  });
  if (!changes) return changes;
  const auto find = [&](const std::string& path) {
    return std::find_if(changes->begin(), changes->end(),
                        [&](const FileChange& change) { return change.path == path; });
  };
  if (others.empty()) return without_line(std::move(*changes), registries);
  if (const auto config = find(options_.config_path); config != changes->end()) changes->erase(config);
  auto now = read_if_there(registries);
  if (!now) return std::move(now).error();
  if (const auto change = find(registries); change != changes->end()) changes->erase(change);
  FileChange rest;
  rest.path = registries;
  rest.before = std::move(*now);
  rest.after = registries_text_of(others);
  rest.what = "what other runtimes brought stays";
  if (rest.before && rest.before != rest.after) changes->push_back(std::move(rest));
  return changes;
}

Result<std::vector<FileChange>> Session::without_line(std::vector<FileChange> changes,
                                                      const std::string& registries) const {
  // The change of `path`, made where there is none; null: there is no such file.
  const auto change_of = [&](const std::string& path) -> Result<FileChange*> {
    for (auto& change : changes)
      if (change.path == path) return &change;
    auto now = read_if_there(path);
    if (!now) return std::move(now).error();
    if (!*now) return nullptr;
    FileChange made;
    made.path = path;
    made.before = made.after = std::move(*now);
    made.what = "what setup wrote goes";
    return &changes.emplace_back(std::move(made));
  };
  auto config = change_of(options_.config_path);
  if (!config) return std::move(config).error();
  bool is_named = false;  // in words of somebody's own; then the file stays and says nothing
  if (FileChange* change = *config; change && change->after) {
    change->after = without_top_line(*change->after, "registries_file: " + yaml_quoted(registries));
    is_named = change->after->find(registries) != std::string::npos;
  }
  auto file = change_of(registries);
  if (!file) return std::move(file).error();
  if (FileChange* change = *file) {
    if (!is_named) change->after.reset();
    if (is_named && !change->after) change->after = registries_text_of({});
    if (is_named && change->after == change->before) change->after = registries_text_of({});
  }
  std::erase_if(changes, [](const FileChange& change) { return change.before == change.after; });
  return changes;
}

Result<Ok> Session::undo() {
  if (auto open = applier_.open(false); !open) return open;
  if (applier_.was_broken_off() && !options_.dry_run) {
    say_("the last setup was broken off in the middle; what it wrote is put back");
    if (auto back = applier_.roll_back(); !back) return back;
  }
  if (applier_.record().files.empty()) {
    say_(fmt::format("nothing to undo: setup changed nothing for {}", runtime_->name()));
    return Ok{};
  }
  auto changes = undo_changes();
  if (!changes) return std::move(changes).error();
  std::reverse(changes->begin(), changes->end());  // the runtime's files first
  std::vector<std::pair<std::string, Copied>> all;
  std::vector<std::string> ignored, secrets;
  if (auto root = read_yaml("record", applier_.record().copied))
    plan_.copied = read_copied("record", *root, ignored);
  copied_of_others(&all);  // with this one
  for (const auto& [name, copied] : all)
    for (auto& secret : secrets_of(copied)) secrets.push_back(std::move(secret));
  for (const auto& change : *changes) {
    say_(fmt::format("{} {}: {}", options_.dry_run ? "would restore" : "restores", change.path, change.what));
    if (options_.dry_run) say_(unified_diff(change, secrets));
  }
  if (options_.dry_run) return Ok{};
  if (auto begun = applier_.begin(*changes); !begun) return begun;
  for (const auto& change : *changes)
    if (auto written = applier_.write(change); !written) return back(std::move(written).error());
  if (auto done = applier_.forget(); !done) return done;
  if (auto reloaded = runs_ ? daemon_.reload() : Result<Ok>(Ok{}); !reloaded)
    say_("layerd: " + reloaded.error().message);
  say_(fmt::format("{} is as it was before setup", runtime_->name()));
  return Ok{};
}

}  // namespace layerd::daemon::setup
