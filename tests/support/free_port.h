// Ports nobody listens on, found by binding port 0. The caller binds at once: another program could
// take the port in between, so each test asks for as few as it needs.
#pragma once

#include <chrono>
#include <cstdint>

namespace layerd::test {

std::uint16_t free_port();
// True once something accepts connections on 127.0.0.1:`port`; false after `timeout`.
bool wait_for_port(std::uint16_t port, std::chrono::milliseconds timeout);

}  // namespace layerd::test
