// The pulls of session.h: the probe before a runtime is pointed at layerd, the one behind it, and --verify.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "daemon/setup/diff.h"
#include "daemon/setup/session.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {
namespace {

constexpr std::size_t kMostProbes = 5;
constexpr const char* kKnownImage = "docker.io/library/hello-world:latest";

std::string registry_of(const std::string& image) {
  auto name = registry::parse_image_name(image);
  return name ? name->registry : std::string();
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
    if (auto willing = go_on(); !willing) return willing;
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
  if (auto willing = go_on(); !willing) return willing;
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
    if (auto willing = go_on(); !willing) return willing;
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

}  // namespace layerd::daemon::setup
