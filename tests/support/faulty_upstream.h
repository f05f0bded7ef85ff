// A registry that misbehaves on order. Tests put blobs and manifests into it, attach faults to paths and
// read afterwards what was asked and how many body bytes left. Blocking threads, none of layerd's code.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/blocking_server.h"
#include "tests/support/image_maker.h"

namespace layerd::test {

// What goes wrong with one answer. Several may be combined.
struct Fault {
  std::chrono::milliseconds head_delay{0};
  std::size_t drip_bytes = 0;  // so many at a time,
  std::chrono::milliseconds drip_every{0};
  std::size_t bytes_per_second = 0;          // of each connection
  std::optional<std::uint64_t> cut_after;    // ends after so many body bytes of this answer
  bool reset = false;                        // with RST and not FIN
  std::optional<std::uint64_t> stall_after;  // silent after so many, until the client leaves
  bool refuse = false;                       // closes without a word
  bool ignore_range = false;
  bool no_length = false;  // the body ends with the connection
  bool chunked = false;
  std::int64_t length_lie = 0;  // added to Content-Length
  bool wrong_bytes = false;     // one byte in the middle of what is sent is another
  int status = 0;               // answers this and nothing of the blob
  std::vector<std::pair<std::string, std::string>> headers = {};  // more headers
  std::string body = {};  // with `status`, or instead of the blob with replace_body
  bool replace_body = false;
  std::string digest_header = {};  // a false Docker-Content-Digest
  bool no_digest_header = false;
  bool no_content_type = false;
  std::string methods = "HEAD GET";  // which requests it concerns
  int times = -1;                    // so many answers, then all is well; -1: always
  bool later_ignores_range = false;  // all is well then, but that
};

// An HTML page with 200, as a captive portal sends it.
Fault html_page();

struct SeenRequest {
  std::string method, target, range, authorization, host, via;
  int status = 0;
  std::uint64_t body_bytes = 0;  // written to the socket
  int connection = 0;
};

class FaultyUpstream {
 public:
  explicit FaultyUpstream(std::optional<Certificate> certificate = {}, std::uint16_t port = 0);

  std::uint16_t port() const { return server_->port(); }
  std::string address() const;  // 127.0.0.1:PORT
  std::string url() const;
  BlockingServer& server() { return *server_; }

  // A blob is there for every repository.
  std::string add_blob(std::string bytes);
  std::string add_blob_sha512(std::string bytes);
  std::string add_manifest(const std::string& type, std::string bytes);
  void tag(const std::string& repository, const std::string& tag, const std::string& digest);
  void untag(const std::string& repository, const std::string& tag);
  void add(const Image& image, const std::string& repository, const std::string& tag);

  // The first fault whose `part` is in the target counts. A later one with the same part replaces it.
  void fault(const std::string& part, Fault fault);
  void clear_faults();
  // Called on the connection's thread before each answer.
  void on_request(std::function<void(const ServerRequest&)> call);

  void require_basic(const std::string& user, const std::string& password);
  // Tokens come from this server's own /token, and only for the given account (empty: for anybody).
  void require_bearer(const std::string& user, const std::string& password, int expires_in = 300);
  void revoke_tokens();
  // From now on the repository is for those alone who were given the right. By Basic: 401 without it or with
  // a wrong password, 403 for an account that is known and has no right.
  void give_right(const std::string& user, const std::string& password, const std::string& repository);
  void take_right(const std::string& user, const std::string& password, const std::string& repository);

  std::vector<SeenRequest> seen() const;
  int count(const std::string& method, const std::string& part) const;
  std::uint64_t body_bytes(const std::string& part) const;
  int most_at_once(const std::string& part) const;  // answers with that part in the target under way together
  void forget();

 private:
  struct Answer;
  bool handle(const ServerRequest& request, ServerConnection& connection);
  bool answer(const ServerRequest& request, ServerConnection& connection, SeenRequest& seen);
  Answer look_up(const ServerRequest& request) const;
  std::optional<Answer> refuse_access(const ServerRequest& request) const;
  Answer token(const ServerRequest& request);
  Fault take_fault(const ServerRequest& request);
  void apply(const Fault& fault, const ServerRequest& request, Answer& answer) const;
  bool send(const Answer& answer, const Fault& fault, bool head_only, ServerConnection& connection,
            SeenRequest& seen);
  bool send_body(std::string_view body, const Fault& fault, ServerConnection& connection, SeenRequest& seen);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const std::string>> contents_;  // digest -> bytes
  std::map<std::string, std::string> types_;                            // manifest digest -> media type
  std::map<std::string, std::string> tags_;                             // repository:tag -> digest
  std::vector<std::pair<std::string, Fault>> faults_;
  std::function<void(const ServerRequest&)> on_request_;
  std::string basic_, account_;
  std::set<std::string> accounts_;                       // Basic …
  std::map<std::string, std::set<std::string>> rights_;  // repository -> accounts
  bool bearer_ = false;
  int expires_in_ = 300, generation_ = 1;
  std::vector<SeenRequest> seen_;
  std::vector<std::string> under_way_;
  std::map<std::string, int> most_;
  std::unique_ptr<BlockingServer> server_;  // last: its threads use all of the above
};

}  // namespace layerd::test
