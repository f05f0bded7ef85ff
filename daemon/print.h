// Text for people: sizes, ages, tables and progress. Pure but for is_terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace layerd::daemon {

std::string human_bytes(std::uint64_t bytes);                     // "31.4 MiB"
std::string human_seconds(double seconds);                        // "3 s", "12 min", "4 h", "9 d"
std::string human_age(std::int64_t unix_time, std::int64_t now);  // "5 min ago"; "never" for 0
// Columns padded to the widest cell, two blanks between, no trailing blanks.
std::string table(const std::vector<std::vector<std::string>>& rows);
bool is_terminal(int fd);

}  // namespace layerd::daemon
