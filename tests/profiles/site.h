// A site with its registries: layerd and containerd in a network namespace of their own, and over a cable the
// outside world of front/internet.py, where every registry has its real names, addresses and port. Nothing
// leaves the machine. All tests of the program share one; each has images and a layerd of its own. Needs
// root.
#pragma once

#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/containerd.h"
#include "tests/support/fake_dns.h"
#include "tests/support/hashes.h"
#include "tests/support/image_maker.h"
#include "tests/support/layerd_daemon.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

// One request as a host of the outside world saw it.
struct Asked {
  std::string origin;  // "https://ghcr.io", "http://10.0.24.28:30002"; behind the ingress without TLS
  std::string method, target;
  int status = 0;          // of the answer
  std::string credential;  // "Basic user:password", "Bearer …", or empty
  std::string body;
};

class World {
 public:
  // Made at the first call; the calling thread is in its namespace from then on.
  static World& get();

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string site_ca() const { return path("site-ca.crt"); }
  // An image that no other test has, which the real registry behind all fronts holds.
  Image publish(const std::string& repository, const std::string& tag = "1");
  // All requests from the `from`-th on.
  std::vector<Asked> asked(std::size_t from) const;
  FakeDns& dns() { return *dns_; }
  Containerd& containerd() { return *containerd_; }
  std::string new_folder();

 private:
  World();
  void connect(pid_t outside);
  TempDir folder_{"layerd-world"};
  std::unique_ptr<FakeDns> dns_;
  std::unique_ptr<Process> front_;
  std::unique_ptr<Containerd> containerd_;
  int images_ = 0, nodes_ = 0;
};

// A node of the site. It ends cleanly, with nothing wrong in its store and no secret in its log.
class Node : public LayerdDaemon {
 public:
  // configuration: as a user of that registry writes it; the DNS servers of the site are added.
  explicit Node(const std::string& configuration = "");
  ~Node();

  // `ctr images pull`; containerd asks this layerd for every registry, and nobody else.
  Finished pull(const std::string& reference);
  // The pull has to work, and what lies in layerd's store to be the image, byte for byte.
  void must_pull(const std::string& reference, const Image& image);
  // What hosts of the outside world were asked since this node began; of one origin when given.
  std::vector<Asked> asked(const std::string& origin = "") const;
  // The only token request there was; the test fails when there were others.
  Asked token_request() const;

 private:
  std::size_t from_;
};

// A client without a right is challenged or refused, as the repository's class has it (docs/access.md).
inline bool is_refusal(const ProbeReply& reply) { return reply.status == 401 || reply.status == 403; }

// A file with a secret, readable by its owner alone; or a program.
std::string secret_file(const std::string& name, const std::string& text, bool is_program = false);

}  // namespace layerd::test
