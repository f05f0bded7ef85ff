// The command line: `layerd COMMAND …` (design: "Commands"). The one home of CLI11.
#pragma once

namespace layerd::daemon {

inline constexpr const char* kDefaultConfig = "/etc/layerd/config.yaml";

// Exit status: 0 done, 1 it failed (the reason on stderr), 2 wrong usage or configuration.
int run_command_line(int argc, char** argv);

}  // namespace layerd::daemon
