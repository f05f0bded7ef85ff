#include "tests/support/faulty_upstream.h"

#include <fmt/core.h>

#include <algorithm>

#include "tests/support/hashes.h"

namespace layerd::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string error_json(const std::string& code) {
  return fmt::format(R"({{"errors":[{{"code":"{}","message":"said by the test's registry"}}]}})", code);
}

// The single range of `header` within `size` bytes; nothing when there is none or it cannot be met.
std::optional<std::pair<std::size_t, std::size_t>> range_of(const std::string& header, std::size_t size) {
  if (!header.starts_with("bytes=") || has(header, ",") || size == 0) return {};
  const std::string text = header.substr(6);
  const std::size_t dash = text.find('-');
  if (dash == std::string::npos) return {};
  if (dash == 0) {
    const std::size_t last = std::min<std::size_t>(size, std::stoull(text.substr(1)));
    return std::pair(size - last, size - 1);
  }
  const std::size_t first = std::stoull(text.substr(0, dash));
  const std::size_t last =
      dash + 1 < text.size() ? std::min<std::size_t>(std::stoull(text.substr(dash + 1)), size - 1) : size - 1;
  if (first > last) return {};
  return std::pair(first, last);
}

}  // namespace

struct FaultyUpstream::Answer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<const std::string> content = std::make_shared<std::string>();
  std::size_t first = 0, size = 0;  // the part of `content` that is sent

  void put(std::string text) {
    content = std::make_shared<std::string>(std::move(text));
    first = 0;
    size = content->size();
  }
};

Fault html_page() {
  Fault fault;
  fault.replace_body = true;
  fault.no_digest_header = true;
  fault.no_content_type = true;
  fault.headers = {{"Content-Type", "text/html; charset=utf-8"}};
  fault.body = "<!DOCTYPE html><html><body>Please sign in to the network</body></html>\n";
  return fault;
}

FaultyUpstream::FaultyUpstream(std::optional<Certificate> certificate, std::uint16_t port)
    : server_(std::make_unique<BlockingServer>(
          [this](const ServerRequest& request, ServerConnection& connection) {
            return handle(request, connection);
          },
          std::move(certificate), port)) {}

std::string FaultyUpstream::address() const { return fmt::format("127.0.0.1:{}", port()); }
std::string FaultyUpstream::url() const { return (server_->has_tls() ? "https://" : "http://") + address(); }

std::string FaultyUpstream::add_blob(std::string bytes) {
  std::lock_guard lock(mutex_);
  std::string digest = sha256_digest(bytes);
  contents_[digest] = std::make_shared<std::string>(std::move(bytes));
  return digest;
}

std::string FaultyUpstream::add_blob_sha512(std::string bytes) {
  std::lock_guard lock(mutex_);
  std::string digest = "sha512:" + sha512_hex(bytes);
  contents_[digest] = std::make_shared<std::string>(std::move(bytes));
  return digest;
}

std::string FaultyUpstream::add_manifest(const std::string& type, std::string bytes) {
  std::string digest = add_blob(std::move(bytes));
  std::lock_guard lock(mutex_);
  types_[digest] = type;
  return digest;
}

void FaultyUpstream::tag(const std::string& repository, const std::string& tag, const std::string& digest) {
  std::lock_guard lock(mutex_);
  tags_[repository + ":" + tag] = digest;
}

void FaultyUpstream::untag(const std::string& repository, const std::string& tag) {
  std::lock_guard lock(mutex_);
  tags_.erase(repository + ":" + tag);
}

void FaultyUpstream::add(const Image& image, const std::string& repository, const std::string& tag_name) {
  for (const auto& [digest, bytes] : image.blobs) add_blob(bytes);
  for (const auto& [digest, manifest] : image.manifests) add_manifest(manifest.first, manifest.second);
  tag(repository, tag_name, image.top);
}

void FaultyUpstream::fault(const std::string& part, Fault fault) {
  std::lock_guard lock(mutex_);
  const auto same =
      std::find_if(faults_.begin(), faults_.end(), [&](const auto& known) { return known.first == part; });
  if (same != faults_.end())
    same->second = std::move(fault);
  else
    faults_.emplace_back(part, std::move(fault));
}

void FaultyUpstream::clear_faults() {
  std::lock_guard lock(mutex_);
  faults_.clear();
}

void FaultyUpstream::on_request(std::function<void(const ServerRequest&)> call) {
  std::lock_guard lock(mutex_);
  on_request_ = std::move(call);
}

void FaultyUpstream::require_basic(const std::string& user, const std::string& password) {
  std::lock_guard lock(mutex_);
  basic_ = "Basic " + base64(user + ":" + password);
}

void FaultyUpstream::require_bearer(const std::string& user, const std::string& password, int expires_in) {
  std::lock_guard lock(mutex_);
  bearer_ = true;
  account_ = user.empty() ? "" : "Basic " + base64(user + ":" + password);
  expires_in_ = expires_in;
}

void FaultyUpstream::revoke_tokens() {
  std::lock_guard lock(mutex_);
  ++generation_;
}

void FaultyUpstream::give_right(const std::string& user, const std::string& password,
                                const std::string& repository) {
  std::lock_guard lock(mutex_);
  const std::string account = "Basic " + base64(user + ":" + password);
  accounts_.insert(account);
  rights_[repository].insert(account);
}

void FaultyUpstream::take_right(const std::string& user, const std::string& password,
                                const std::string& repository) {
  std::lock_guard lock(mutex_);
  rights_[repository].erase("Basic " + base64(user + ":" + password));
}

std::vector<SeenRequest> FaultyUpstream::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

int FaultyUpstream::count(const std::string& method, const std::string& part) const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(std::count_if(seen_.begin(), seen_.end(), [&](const SeenRequest& request) {
    return request.method == method && has(request.target, part);
  }));
}

std::uint64_t FaultyUpstream::body_bytes(const std::string& part) const {
  std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& request : seen_) {
    if (has(request.target, part)) sum += request.body_bytes;
  }
  return sum;
}

int FaultyUpstream::most_at_once(const std::string& part) const {
  std::lock_guard lock(mutex_);
  int most = 0;
  for (const auto& [target, number] : most_) {
    if (has(target, part)) most = std::max(most, number);
  }
  return most;
}

void FaultyUpstream::forget() {
  std::lock_guard lock(mutex_);
  seen_.clear();
  most_.clear();
}

// Every request is written down when it begins, so that a test sees those under way as well.
bool FaultyUpstream::handle(const ServerRequest& request, ServerConnection& connection) {
  SeenRequest seen{request.method,
                   request.target,
                   request.header("range"),
                   request.header("authorization"),
                   request.header("host"),
                   request.header("via"),
                   0,
                   0,
                   request.connection};
  std::function<void(const ServerRequest&)> call;
  std::size_t place;
  {
    std::lock_guard lock(mutex_);
    call = on_request_;
    place = seen_.size();
    seen_.push_back(seen);
    under_way_.push_back(request.target);
    const int now = static_cast<int>(std::count(under_way_.begin(), under_way_.end(), request.target));
    most_[request.target] = std::max(most_[request.target], now);
  }
  if (call) call(request);
  const bool keep = answer(request, connection, seen);
  std::lock_guard lock(mutex_);
  under_way_.erase(std::find(under_way_.begin(), under_way_.end(), request.target));
  if (place < seen_.size() && seen_[place].target == seen.target) seen_[place] = seen;
  return keep;
}

bool FaultyUpstream::answer(const ServerRequest& request, ServerConnection& connection, SeenRequest& seen) {
  const Fault fault = take_fault(request);
  if (fault.head_delay.count() > 0) {
    const auto end = steady_clock::now() + fault.head_delay;
    while (steady_clock::now() < end) {
      if (!connection.pause(milliseconds(20))) return false;
    }
  }
  if (fault.refuse) {
    connection.cut(fault.reset);
    return false;
  }
  Answer answer;
  if (request.path() == "/token")
    answer = token(request);
  else if (auto refusal = refuse_access(request))
    answer = *refusal;
  else
    answer = look_up(request);
  apply(fault, request, answer);
  return send(answer, fault, request.method == "HEAD", connection, seen);
}

Fault FaultyUpstream::take_fault(const ServerRequest& request) {
  std::lock_guard lock(mutex_);
  for (auto& [part, fault] : faults_) {
    if (!has(request.target, part) || !has(fault.methods, request.method)) continue;
    if (fault.times == 0 && fault.later_ignores_range) {
      Fault later;
      later.ignore_range = true;
      return later;
    }
    if (fault.times == 0) continue;
    if (fault.times > 0) --fault.times;
    return fault;
  }
  return {};
}

std::optional<FaultyUpstream::Answer> FaultyUpstream::refuse_access(const ServerRequest& request) const {
  std::lock_guard lock(mutex_);
  const std::string given = request.header("authorization");
  std::string challenge;
  const std::string path_asked = request.path();
  for (const auto& [repository, allowed] : rights_) {
    if (!path_asked.starts_with("/v2/" + repository + "/") || allowed.contains(given)) continue;
    if (!accounts_.contains(given)) {
      challenge = "Basic realm=\"test\"";
      continue;
    }
    Answer denied;
    denied.status = 403;
    denied.headers = {{"Content-Type", "application/json"}};
    denied.put(error_json("DENIED"));
    return denied;
  }
  if (!basic_.empty() && given != basic_) challenge = "Basic realm=\"test\"";
  if (bearer_ && given != fmt::format("Bearer token-{}", generation_)) {
    const std::string path = request.path();
    const std::size_t end = std::min(path.find("/manifests/"), path.find("/blobs/"));
    const std::string repository = end == std::string::npos || end < 4 ? "" : path.substr(4, end - 4);
    challenge = fmt::format(R"(Bearer realm="{}/token",service="test registry",scope="repository:{}:pull")",
                            url(), repository);
    if (!given.empty()) challenge += ",error=\"invalid_token\"";
  }
  if (challenge.empty()) return {};
  Answer answer;
  answer.status = 401;
  answer.headers = {{"WWW-Authenticate", challenge}, {"Content-Type", "application/json"}};
  answer.put(error_json("UNAUTHORIZED"));
  return answer;
}

FaultyUpstream::Answer FaultyUpstream::token(const ServerRequest& request) {
  std::lock_guard lock(mutex_);
  Answer answer;
  answer.headers = {{"Content-Type", "application/json"}};
  if (!account_.empty() && request.header("authorization") != account_) {
    answer.status = 401;
    answer.put(error_json("UNAUTHORIZED"));
    return answer;
  }
  answer.put(fmt::format(R"({{"token":"token-{}","expires_in":{}}})", generation_, expires_in_));
  return answer;
}

FaultyUpstream::Answer FaultyUpstream::look_up(const ServerRequest& request) const {
  std::lock_guard lock(mutex_);
  Answer answer;
  const std::string path = request.path();
  const bool manifest = has(path, "/manifests/");
  const std::size_t mark = manifest ? path.rfind("/manifests/") : path.rfind("/blobs/");
  answer.headers = {{"Docker-Distribution-Api-Version", "registry/2.0"}};
  if (mark == std::string::npos || mark < 4) {
    answer.status = path == "/v2/" || path == "/v2" ? 200 : 404;
    answer.put("{}");
    return answer;
  }
  std::string name = path.substr(path.rfind('/') + 1);
  const auto tagged = tags_.find(path.substr(4, mark - 4) + ":" + name);
  if (manifest && tagged != tags_.end()) name = tagged->second;
  const auto found = contents_.find(name);
  const auto type = types_.find(name);
  if (found == contents_.end() || (manifest && type == types_.end())) {
    answer.status = 404;
    answer.headers.emplace_back("Content-Type", "application/json");
    answer.put(error_json(manifest ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN"));
    return answer;
  }
  answer.content = found->second;
  answer.size = found->second->size();
  answer.headers.emplace_back("Content-Type", manifest ? type->second : "application/octet-stream");
  answer.headers.emplace_back("Docker-Content-Digest", name);
  if (!manifest) answer.headers.emplace_back("Accept-Ranges", "bytes");
  answer.headers.emplace_back("ETag", '"' + name + '"');
  return answer;
}

void FaultyUpstream::apply(const Fault& fault, const ServerRequest& request, Answer& answer) const {
  const auto drop = [&](const std::string& name) {
    std::erase_if(answer.headers, [&](const auto& header) { return header.first == name; });
  };
  if (fault.status != 0) {
    answer.status = fault.status;
    answer.headers.clear();
    answer.put(fault.body);
  }
  if (fault.replace_body) answer.put(fault.body);
  if (fault.no_content_type) drop("Content-Type");
  if (fault.no_digest_header || !fault.digest_header.empty()) drop("Docker-Content-Digest");
  if (!fault.digest_header.empty()) answer.headers.emplace_back("Docker-Content-Digest", fault.digest_header);
  if (fault.ignore_range) drop("Accept-Ranges");
  for (const auto& header : fault.headers) answer.headers.push_back(header);
  const std::string range = request.header("range");
  if (answer.status != 200 || fault.ignore_range || fault.replace_body || range.empty()) return;
  const std::size_t total = answer.size;
  if (const auto part = range_of(range, total)) {
    answer.status = 206;
    answer.first = part->first;
    answer.size = part->second - part->first + 1;
    answer.headers.emplace_back("Content-Range",
                                fmt::format("bytes {}-{}/{}", part->first, part->second, total));
  } else if (!has(range, ",")) {
    answer.status = 416;
    answer.put("");
    answer.headers.emplace_back("Content-Range", fmt::format("bytes */{}", total));
  }
}

bool FaultyUpstream::send(const Answer& answer, const Fault& fault, bool head_only,
                          ServerConnection& connection, SeenRequest& seen) {
  seen.status = answer.status;
  std::string head = fmt::format("HTTP/1.1 {} Test\r\n", answer.status);
  for (const auto& [name, value] : answer.headers) head += name + ": " + value + "\r\n";
  const bool keep = !fault.no_length && fault.length_lie == 0 && !fault.cut_after && !fault.stall_after;
  if (fault.chunked)
    head += "Transfer-Encoding: chunked\r\n";
  else if (!fault.no_length) {
    head += fmt::format("Content-Length: {}\r\n", static_cast<std::int64_t>(answer.size) + fault.length_lie);
  }
  if (fault.no_length) head += "Connection: close\r\n";
  if (!connection.write(head + "\r\n")) return false;
  if (head_only) return keep;
  std::string changed;
  std::string_view body = std::string_view(*answer.content).substr(answer.first, answer.size);
  if (fault.wrong_bytes && !body.empty()) {
    changed = body;
    changed[changed.size() / 2] ^= 1;
    body = changed;
  }
  const bool whole = send_body(body, fault, connection, seen);
  if (whole && fault.chunked) return connection.write("0\r\n\r\n") && keep;
  if (whole && keep) return true;
  connection.cut(fault.reset);
  return false;
}

// True when all of `body` was written and no fault ended it.
bool FaultyUpstream::send_body(std::string_view body, const Fault& fault, ServerConnection& connection,
                               SeenRequest& seen) {
  const auto start = steady_clock::now();
  std::size_t step = fault.drip_bytes != 0 ? fault.drip_bytes : 64 * 1024;
  if (fault.bytes_per_second != 0)
    step = std::max<std::size_t>(1, std::min(step, fault.bytes_per_second / 50));
  std::size_t sent = 0;
  while (sent < body.size()) {
    std::size_t part = std::min(step, body.size() - sent);
    if (fault.cut_after) part = std::min(part, static_cast<std::size_t>(*fault.cut_after) - sent);
    if (fault.stall_after) part = std::min(part, static_cast<std::size_t>(*fault.stall_after) - sent);
    if (part == 0) break;
    std::string piece(body.substr(sent, part));
    if (fault.chunked) piece = fmt::format("{:x}\r\n{}\r\n", part, piece);
    if (!connection.write(piece)) return false;
    sent += part;
    seen.body_bytes += part;
    if (fault.drip_every.count() > 0 && sent < body.size() && !connection.pause(fault.drip_every))
      return false;
    if (fault.bytes_per_second != 0) {
      const auto due = start + milliseconds(sent * 1000 / fault.bytes_per_second);
      if (due > steady_clock::now() &&
          !connection.pause(std::chrono::ceil<milliseconds>(due - steady_clock::now()))) {
        return false;
      }
    }
  }
  if (fault.stall_after && sent < body.size()) {
    while (connection.pause(milliseconds(20))) {
    }
    return false;
  }
  return sent == body.size();
}

}  // namespace layerd::test
