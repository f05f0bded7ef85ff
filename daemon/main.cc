// The program: arguments in, exit status out. 0 done, 1 it failed, 2 wrong usage or configuration.
#include "daemon/cli.h"

int main(int argc, char** argv) { return layerd::daemon::run_command_line(argc, argv); }
