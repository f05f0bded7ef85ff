#include "tests/support/tinyproxy.h"

#include <fmt/core.h>

#include <stdexcept>

#include "tests/support/free_port.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

Tinyproxy::Tinyproxy(const std::string& folder, const TinyproxySettings& settings)
    : folder_(folder), port_(free_port()) {
  std::string text = fmt::format("Port {}\nListen 127.0.0.1\nTimeout 60\nLogFile \"{}/log\"\nLogLevel Info\n",
                                 port_, folder_);
  if (!settings.user.empty()) text += fmt::format("BasicAuth {} {}\n", settings.user, settings.password);
  if (!settings.denied.empty()) {
    write_text(folder_ + "/filter", settings.denied + "\n");
    text += fmt::format("Filter \"{}/filter\"\nFilterExtended On\n", folder_);
  }
  write_text(folder_ + "/tinyproxy.conf", text);
  write_text(folder_ + "/hosts", "127.0.0.1 localhost\n" + settings.hosts);
  process_.emplace(Command{{"unshare", "-m", "sh", "-c",
                            fmt::format("mount --bind {0}/hosts /etc/hosts && exec tinyproxy -d -c "
                                        "{0}/tinyproxy.conf",
                                        folder_)},
                           {},
                           folder_ + "/output"});
  if (!wait_for_port(port_, std::chrono::seconds(10)))
    throw std::runtime_error("tinyproxy does not come up: " + process_->output() + log());
}

std::string Tinyproxy::address() const { return fmt::format("127.0.0.1:{}", port_); }
std::string Tinyproxy::log() const { return read_text(folder_ + "/log"); }

}  // namespace layerd::test
