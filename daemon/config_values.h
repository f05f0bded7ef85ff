// The scalars of the configuration: sizes, durations, addresses, numbers, truth values. Each
// answers a value or a sentence saying what was expected. Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/settings.h"
#include "runtime/result.h"

namespace layerd::daemon {

// "20GiB", "500MB", "1.5TiB", "4096" (bytes). 1 byte to 8 EiB.
Result<ByteCount> parse_size(std::string_view text);
// A size, or "20%" of the file system (above 0, at most 100).
Result<SizeSetting> parse_size_or_percent(std::string_view text);
// "2s", "250ms", "10m", "1.5h", "3d"; "0" needs no unit.
// Bytes per second: "50Mbit" (kbit, Mbit, Gbit: powers of 1000), or a size, "6MiB". 1 Mbit to 1 Tbit; "none"
// is 0.
Result<ByteCount> parse_rate(std::string_view text);
Result<Duration> parse_duration(std::string_view text);
Result<bool> parse_bool(std::string_view text);
Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most);
// "127.0.0.1:5151", "[::1]:5151", ":5151" (every address), "localhost:5151" (127.0.0.1).
Result<ListenAddress> parse_listen(std::string_view text);
// "user:pass" in base64, padded or not.
Result<std::string> decode_base64(std::string_view text);

std::string duration_text(Duration duration);  // the largest unit that leaves no rest: "2s"
std::string size_text(ByteCount bytes);        // "20GiB"
std::string rate_text(ByteCount rate);         // "50Mbit", "none"

// The word of `valid` that is nearest to `wrong` by edit distance, if it is near enough to be meant;
// else empty.
std::string nearest_word(std::string_view wrong, const std::vector<std::string>& valid);

}  // namespace layerd::daemon
