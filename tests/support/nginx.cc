#include "tests/support/nginx.h"

#include <fmt/core.h>

#include <stdexcept>

#include "tests/support/free_port.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

constexpr const char* kConfiguration = R"(daemon off;
master_process off;
pid {0}/nginx.pid;
error_log {0}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {0}/access.log;
  client_body_temp_path {0}/body;
  proxy_temp_path {0}/proxy;
  fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi;
  scgi_temp_path {0}/scgi;
  server {{
    listen 127.0.0.1:{1} ssl;
    ssl_certificate {2};
    ssl_certificate_key {3};
    location / {{
      proxy_pass {4};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
)";

}  // namespace

Nginx::Nginx(const std::string& folder, const Certificate& certificate, const std::string& upstream)
    : port_(free_port()) {
  write_text(folder + "/nginx.conf", fmt::format(kConfiguration, folder, port_, certificate.cert_file,
                                                 certificate.key_file, upstream));
  process_.emplace(Command{{"nginx", "-p", folder, "-c", folder + "/nginx.conf", "-e", folder + "/error.log"},
                           {},
                           folder + "/nginx.log"});
  if (!wait_for_port(port_, std::chrono::seconds(30))) {
    throw std::runtime_error("nginx does not come up: " + read_text(folder + "/error.log") +
                             process_->output());
  }
}

std::string Nginx::address() const { return fmt::format("127.0.0.1:{}", port_); }

}  // namespace layerd::test
