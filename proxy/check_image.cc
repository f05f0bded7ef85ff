#include "proxy/check_image.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/check_words.h"
#include "proxy/upstream/small_body.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kPlatformsShown = 20;
constexpr std::size_t kMostConfig = 256u << 10;

std::string platform_list(const std::vector<registry::PlatformManifest>& all) {
  std::string list;
  for (std::size_t i = 0; i < std::min(all.size(), kPlatformsShown); ++i)
    list += (i ? ", " : "") + all[i].platform.str();
  return all.size() > kPlatformsShown ? list + " and more" : list;
}

// The cheapest that shows where blobs lie: a layer rather than the configuration, which some registries
// answer themselves.
const registry::Descriptor* smallest_layer(const registry::ManifestInfo& manifest) {
  const registry::Descriptor* best = nullptr;
  for (const auto& blob : manifest.descriptors) {
    const bool is_layer = blob.role == registry::DescriptorRole::layer;
    if (best == nullptr || (is_layer && best->role != registry::DescriptorRole::layer) ||
        (is_layer && blob.size < best->size))
      best = &blob;
  }
  return best;
}

}  // namespace

ImageWalk::ImageWalk(const CheckParts& parts, CheckKit& kit, CheckReport& report, CheckRecorder& recorder,
                     registry::TargetPtr target, const registry::Rules& rules, std::size_t endpoint,
                     std::string reference, registry::Platform platform, Deadline deadline)
    : parts_(parts),
      report_(report),
      recorder_(recorder),
      target_(std::move(target)),
      endpoint_(endpoint),
      reference_(std::move(reference)),
      platform_(std::move(platform)),
      fetching_(parts.loop, kit.flows, rules, deadline) {}

void ImageWalk::start(Done<Ok> done) {
  done_ = std::move(done);
  get_manifest();
}

std::optional<ByteCount> ImageWalk::kept(const Digest& digest) const {
  return parts_.store ? parts_.store->known_size(digest) : std::nullopt;
}

void ImageWalk::get_manifest() {
  const auto digest = Digest::parse(reference_);
  const auto size = digest ? kept(*digest) : std::nullopt;
  // As a pull does: what is kept is not asked for again (Docker Hub counts it).
  if (size && *size <= registry::kMostManifestBytes) {
    pending_ = parts_.store->get(*digest, registry::kMostManifestBytes,
                                 [this](Result<Bytes> bytes) { on_kept(std::move(bytes)); });
    return;
  }
  upstream::FetchRequest request;
  request.kind = upstream::Kind::manifest;
  request.reference = reference_;
  fetch(std::move(request),
        [this](Result<upstream::FetchResponse> response) { on_response(std::move(response)); });
}

void ImageWalk::on_kept(Result<Bytes> bytes) {
  if (!bytes) return fail("manifest", std::move(bytes).error());
  const auto digest = Digest::parse(reference_);
  const auto record = parts_.catalog && digest ? parts_.catalog->manifest(*digest) : std::nullopt;
  read(bytes->view(), record ? record->media_type : std::string(), true);
}

void ImageWalk::fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  request.target = target_;
  request.first_endpoint = endpoint_;
  fetching_.start(std::move(request), std::move(done));
}

void ImageWalk::on_response(Result<upstream::FetchResponse> response) {
  if (!response) return fail("manifest", std::move(response).error());
  const std::string type(response->headers.get("Content-Type").value_or(""));
  fetching_.read(std::move(*response), registry::kMostManifestBytes,
                 [this, type](Result<upstream::SmallBody> body) { on_body(type, std::move(body)); });
}

void ImageWalk::on_body(std::string type, Result<upstream::SmallBody> body) {
  if (!body) return fail("manifest", std::move(body).error());
  const auto digest = Digest::parse(reference_);
  if (digest && digest_of(digest->algorithm(), body->text) != *digest)
    return fail("manifest", {Errc::digest_mismatch,
                             fmt::format("{} sent other bytes than {} for the manifest",
                                         target_->endpoints[endpoint_].base.authority(), digest->str())});
  read(body->text, type, false);
}

void ImageWalk::read(std::string_view bytes, const std::string& type, bool is_kept) {
  auto manifest = registry::parse_manifest(bytes, type);
  if (!manifest) return fail("manifest", std::move(manifest).error());
  auto& step = report_.add(
      "manifest", StepState::good,
      fmt::format("{}, {}{}", reference_, byte_words(bytes.size()), is_kept ? ", kept by layerd" : ""));
  step.facts = {{"reference", reference_},
                {"media_type", manifest->media_type},
                {"bytes", bytes.size()},
                {"cached", is_kept}};
  step.details.push_back("type " + manifest->media_type);
  if (!recorder_.rate_limit().empty()) step.details.push_back("rate limit: " + recorder_.rate_limit());
  if (manifest->is_index) return choose(bytes);
  manifest_ = std::move(*manifest);
  tell_blobs(manifest_);
  depth_ == 0 ? read_config() : probe();
}

void ImageWalk::choose(std::string_view index) {
  const auto all = registry::platforms_of(index);
  const auto chosen = registry::choose_platform(all, platform_);
  Json names = Json::array();
  for (const auto& entry : all) names.push_back(entry.platform.str());
  if (!chosen || ++depth_ > registry::kMostIndexDepth) {
    Error error{Errc::not_found,
                fmt::format("the image is there for {} and not for {}",
                            all.empty() ? "no platform" : platform_list(all), platform_.str())};
    error.diagnosis = "platform_missing";
    fail("platform", error);
    return;
  }
  auto& step = report_.add("platform", StepState::good,
                           fmt::format("{} (of {})", chosen->platform.str(), platform_list(all)));
  step.facts = {{"chosen", chosen->platform.str()}, {"all", std::move(names)}};
  reference_ = chosen->digest.str();
  get_manifest();
}

void ImageWalk::tell_blobs(const registry::ManifestInfo& manifest) {
  ByteCount all = 0, here = 0;
  std::size_t count = 0, count_here = 0;
  for (const auto& blob : manifest.descriptors) {
    ++count;
    all += blob.size;
    if (!kept(blob.digest)) continue;
    ++count_here;
    here += blob.size;
  }
  auto& step = report_.add(
      "blobs", StepState::told,
      fmt::format("{} blobs, {}{}", count, byte_words(all),
                  parts_.store ? fmt::format("; cached: {} of them, {}", count_here, byte_words(here))
                               : std::string()));
  step.facts = {{"count", count}, {"bytes", all}};
  if (!parts_.store) return;
  step.facts["cached"] = count_here;
  step.facts["cached_bytes"] = here;
}

// A manifest without an index says its platform in its configuration alone.
void ImageWalk::read_config() {
  const auto config =
      std::find_if(manifest_.descriptors.begin(), manifest_.descriptors.end(),
                   [](const auto& blob) { return blob.role == registry::DescriptorRole::config; });
  if (config == manifest_.descriptors.end() || config->size > kMostConfig) return probe();
  if (kept(config->digest)) {
    pending_ = parts_.store->get(config->digest, kMostConfig, [this](Result<Bytes> bytes) {
      on_config(bytes ? bytes->view() : std::string_view());
    });
    return;
  }
  upstream::FetchRequest request;
  request.kind = upstream::Kind::blob;
  request.reference = config->digest.str();
  fetch(std::move(request), [this](Result<upstream::FetchResponse> response) {
    if (!response) return fail("storage", std::move(response).error());
    fetching_.read(std::move(*response), kMostConfig, [this](Result<upstream::SmallBody> body) {
      on_config(body ? body->text : std::string());
    });
  });
}

void ImageWalk::on_config(std::string_view config) {
  if (const auto found = registry::platform_of_config(config)) {
    const auto chosen = registry::choose_platform({{*found, Digest()}}, platform_);
    if (!chosen) {
      Error error{Errc::not_found,
                  fmt::format("the image is there for {} and not for {}", found->str(), platform_.str())};
      error.diagnosis = "platform_missing";
      return fail("platform", std::move(error));
    }
    report_.add("platform", StepState::good, found->str() + " (the only one)").facts = {
        {"chosen", found->str()}, {"all", Json::array({found->str()})}};
  }
  probe();
}

// One byte of a blob, by the way the whole one would come.
void ImageWalk::probe() {
  const auto* blob = smallest_layer(manifest_);
  if (blob == nullptr) {
    pending_ = parts_.loop.post([this] { finish(Ok{}); });
    return;
  }
  upstream::FetchRequest request;
  request.kind = upstream::Kind::blob;
  request.reference = blob->digest.str();
  if (blob->size > 0) request.range = ByteRange{0, 1};
  fetch(std::move(request),
        [this](Result<upstream::FetchResponse> response) { on_probe(std::move(response)); });
}

void ImageWalk::on_probe(Result<upstream::FetchResponse> response) {
  if (!response) return fail("storage", std::move(response).error());
  fetching_.read(std::move(*response), 1, [this](Result<upstream::SmallBody> bytes) {
    const auto where =
        recorder_.elsewhere().empty() ? std::string("the registry itself") : recorder_.elsewhere();
    if (!bytes) {
      auto error = std::move(bytes).error();
      if (!recorder_.elsewhere().empty()) error.diagnosis = "storage_unreachable";
      return fail("storage", std::move(error));
    }
    report_.add("storage", StepState::good, "blobs come from " + where).facts = {{"from", where}};
    finish(Ok{});
  });
}

void ImageWalk::fail(std::string_view step, Error error) {
  recorder_.failed(step, error);
  finish(std::move(error));
}

void ImageWalk::finish(Result<Ok> result) {
  auto done = std::move(done_);
  done(std::move(result));
}

}  // namespace layerd::proxy
