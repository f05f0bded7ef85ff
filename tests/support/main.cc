// The main program of every test.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <csignal>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // nginx and tc are no commands of an ordinary user.
  const char* path = std::getenv("PATH");
  ::setenv("PATH", (std::string(path ? path : "/usr/local/bin:/usr/bin:/bin") + ":/usr/sbin:/sbin").c_str(),
           1);
  return Catch::Session().run(argc, argv);
}
