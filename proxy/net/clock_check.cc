#include "proxy/net/clock_check.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/certificate_facts.h"

#ifndef LAYERD_BUILD_SECONDS
#error "the build says on which day it is made: CMakeLists.txt"
#endif

namespace layerd::net {
namespace {

using std::chrono::hours;

constexpr const char* kRemedy = "set the clock (timedatectl set-ntp true)";

}  // namespace

WallTime build_day() { return WallTime(std::chrono::seconds(LAYERD_BUILD_SECONDS)); }

std::string clock_fault(WallTime now, const std::vector<CertificateFacts>& chain, WallTime built) {
  // Builders and nodes may lie in different time zones and be a little off.
  if (now + hours(48) < built)
    return fmt::format("this machine's clock is wrong: it says {}, and this layerd was built on {}; {}",
                       time_text(now), date_text(built), kRemedy);
  const auto is_early = [now](const CertificateFacts& facts) { return now < facts.not_before; };
  const auto is_late = [now](const CertificateFacts& facts) { return facts.not_after < now; };
  if (chain.size() > 1 && std::all_of(chain.begin(), chain.end(), is_early))
    return fmt::format(
        "this machine's clock is wrong: it says {}, and no certificate of the chain is valid yet; {}",
        time_text(now), kRemedy);
  if (chain.size() > 1 && std::all_of(chain.begin(), chain.end(), is_late))
    return fmt::format(
        "this machine's clock is wrong: it says {}, and every certificate of the chain has expired; {}",
        time_text(now), kRemedy);
  const bool is_years_early = std::any_of(chain.begin(), chain.end(), [&](const CertificateFacts& facts) {
    return now + hours(24 * 365) < facts.not_before;
  });
  if (is_years_early)
    return fmt::format("this machine's clock is most likely wrong: it says {}; {}", time_text(now), kRemedy);
  return {};
}

}  // namespace layerd::net
