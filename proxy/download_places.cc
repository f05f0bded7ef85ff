#include "proxy/download_places.h"

#include <algorithm>

#include "proxy/download_settings.h"

namespace layerd::proxy {

namespace {

int weight_of(Errc code) {
  switch (code) {
    case Errc::not_found:
    case Errc::range_unsatisfiable:
      return 1;
    case Errc::denied:
    case Errc::refused_by_policy:
      return 2;
    case Errc::overloaded:
      return 3;
    case Errc::upstream_unreachable:
      return 4;
    case Errc::upstream_timeout:
      return 5;
    case Errc::upstream_status:
      return 6;
    case Errc::upstream_protocol:
      return 7;
    case Errc::truncated:
      return 8;
    case Errc::digest_mismatch:
      return 9;
    default:
      return 10;
  }
}

// What another try at the same place cannot change.
bool is_final(Errc code) {
  return code == Errc::not_found || code == Errc::denied || code == Errc::refused_by_policy ||
         code == Errc::upstream_protocol || code == Errc::range_unsatisfiable;
}

bool same_endpoint(const registry::Target& one, std::size_t i, const registry::Target& other, std::size_t k) {
  const auto& a = one.endpoints[i];
  const auto& b = other.endpoints[k];
  return a.repository == b.repository && one.as.name == other.as.name && a.base.str() == b.base.str();
}

}  // namespace

const Error& more_telling(const Error& one, const Error& other) {
  return weight_of(other.code) > weight_of(one.code) ? other : one;
}

bool DownloadPlaces::add(const registry::TargetPtr& target) {
  bool is_new = false;
  for (std::size_t i = 0; i < target->endpoints.size(); ++i) {
    const auto known = std::any_of(all_.begin(), all_.end(), [&](const Place& place) {
      return same_endpoint(*place.target, place.endpoint, *target, i);
    });
    if (known) continue;
    is_new = true;
    const bool joined = !targets_.empty();
    all_.push_back({target, i, Backoff(settings_.retry_first, settings_.retry_most)});
    all_.back().joined = joined;
  }
  if (is_new || targets_.empty()) targets_.push_back(target);
  return is_new;
}

registry::TargetPtr DownloadPlaces::next_target() {
  return asked_ < targets_.size() ? targets_[asked_++] : nullptr;
}

std::size_t DownloadPlaces::find(const registry::Target& target, std::size_t endpoint) const {
  const std::size_t wanted = std::min(endpoint, target.endpoints.size() - 1);
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const Place& place = all_[i];
    if (same_endpoint(*place.target, place.endpoint, target, wanted)) return i;
  }
  return 0;
}

std::string DownloadPlaces::name(std::size_t place) const {
  const auto& base = all_[place].target->endpoints[all_[place].endpoint].base;
  return base.scheme + "://" + base.authority();
}

bool DownloadPlaces::usable(const Place& place) const {
  return !place.banned && place.failures < settings_.tries;
}

DownloadPlaces::Choice DownloadPlaces::choose(TimePoint now) const {
  Choice choice;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const std::size_t at = (order_from_ + i) % all_.size();
    const Place& place = all_[at];
    if (!usable(place)) continue;
    if (place.not_before <= now) return {at, std::nullopt};
    if (place.not_before - now <= settings_.retry_most) return {std::nullopt, place.not_before};
    choice.again = std::min(choice.again.value_or(place.not_before), place.not_before);
  }
  return choice;
}

bool DownloadPlaces::has_other(std::size_t place) const {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (i != place && usable(all_[i])) return true;
  }
  return false;
}

bool DownloadPlaces::confirmed_by(const registry::Target& target) const {
  return std::any_of(all_.begin(), all_.end(), [&](const Place& place) {
    if (!place.confirmed) return false;
    for (std::size_t i = 0; i < target.endpoints.size(); ++i)
      if (same_endpoint(target, i, *place.target, place.endpoint)) return true;
    return false;
  });
}

void DownloadPlaces::gave(std::size_t at, ByteCount bytes) {
  Place& place = all_[at];
  place.given += bytes;
  place.fresh += bytes;
  served_ = at;
  order_from_ = at;
  if (place.fresh < settings_.progress) return;
  place.failures = 0;
  place.backoff.reset();
}

void DownloadPlaces::failed(std::size_t at, const Error& error, TimePoint now) {
  note(error);
  Place& place = all_[at];
  place.fresh = 0;
  place.unreachable = error.code == Errc::upstream_unreachable;
  place.failures = is_final(error.code) ? settings_.tries : place.failures + 1;
  // The first break of a body is mended at once; then the pauses grow.
  Duration wait = place.failures > 1 ? place.backoff.next() : Duration::zero();
  if (error.retry_after) wait = std::max<Duration>(wait, *error.retry_after);
  place.not_before = now + std::min(wait, settings_.retry_after_most);
}

void DownloadPlaces::prefer_another(std::size_t place) { order_from_ = (place + 1) % all_.size(); }

std::optional<std::size_t> DownloadPlaces::instead_of(std::size_t at, double rate) {
  all_[at].rate = rate;
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    Place& place = all_[i];
    if (i == at || !usable(place)) continue;
    if (place.joined && !place.rate) {
      place.rate = 0;  // whatever comes of it, once
      return i;
    }
    if (place.rate.value_or(0) > 2 * rate && (!best || place.rate > all_[*best].rate)) best = i;
  }
  return best;
}

void DownloadPlaces::ban_main_contributor() {
  const auto main = std::max_element(all_.begin(), all_.end(),
                                     [](const Place& a, const Place& b) { return a.given < b.given; });
  if (main != all_.end() && main->given > 0) main->banned = true;
  forget_contributions();
}

void DownloadPlaces::forget_contributions() {
  for (Place& place : all_) place.given = 0;
}

bool DownloadPlaces::wait_out(TimePoint now) {
  bool is_any = false;
  for (Place& place : all_) {
    if (place.banned || !place.unreachable) continue;
    is_any = true;
    place.failures = settings_.tries - 1;
    place.not_before = now + settings_.retry_most;
  }
  return is_any;
}

void DownloadPlaces::forgive() {
  for (Place& place : all_) {
    place.failures = 0;
    place.not_before = {};
    place.backoff.reset();
  }
}

void DownloadPlaces::note(const Error& error) { worst_ = worst_ ? more_telling(*worst_, error) : error; }

Error DownloadPlaces::worst() const {
  return worst_ ? *worst_
                : Error{Errc::upstream_unreachable, "no endpoint is configured for this repository"};
}

}  // namespace layerd::proxy
