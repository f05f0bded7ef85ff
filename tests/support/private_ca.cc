#include "tests/support/private_ca.h"

#include <filesystem>
#include <stdexcept>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

void must(std::vector<std::string> arguments) {
  const Finished finished = run(std::move(arguments));
  if (finished.status != 0) throw std::runtime_error("openssl failed: " + finished.output);
}

}  // namespace

PrivateCa::PrivateCa(std::string folder) : folder_(std::move(folder)), ca_file_(folder_ + "/ca.crt") {
  std::filesystem::create_directories(folder_);
  must({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=layerd test CA", "-addext", "basicConstraints=critical,CA:TRUE",
        "-keyout", folder_ + "/ca.key", "-out", ca_file_});
}

Certificate PrivateCa::issue(const std::string& name, const std::string& subject_names) {
  const std::string base = folder_ + "/" + name;
  write_text(base + ".ext", "basicConstraints=CA:FALSE\nsubjectAltName=" + subject_names + "\n");
  must({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
        "/CN=" + name, "-keyout", base + ".key", "-out", base + ".csr"});
  must({"openssl", "x509", "-req", "-in", base + ".csr", "-CA", ca_file_, "-CAkey", folder_ + "/ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", base + ".ext", "-out", base + ".crt"});
  return {base + ".crt", base + ".key"};
}

}  // namespace layerd::test
