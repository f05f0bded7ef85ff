#include "daemon/cache_commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "daemon/print.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/digest.h"

namespace layerd::daemon {
namespace {

int complain(const std::string& sentence) {
  fmt::print(stderr, "layerd: {}\n", sentence);
  return 1;
}

// The answer's body, or the reason as a sentence on stderr.
std::optional<Json> asked(AdminAccess& access, const std::string& method, const std::string& target) {
  auto answer = access.ask(method, target);
  if (!answer) {
    complain(answer.error().message);
    return std::nullopt;
  }
  if (answer->status < 400) return std::move(answer->body);
  const Json* error = json_find(answer->body, "error");
  complain(error ? json_string(*error, "message", "the daemon refused")
                 : fmt::format("status {}", answer->status));
  return std::nullopt;
}

// Calls `row` for every blob, in order of digests; false when it could not be asked.
template <class F>
bool each_blob(AdminAccess& access, F row) {
  std::string after;
  for (;;) {
    auto page = asked(access, "GET", "/v1/cache/blobs?most=1000" + (after.empty() ? "" : "&after=" + after));
    if (!page) return false;
    const Json* blobs = json_find(*page, "blobs");
    if (!blobs || !blobs->is_array() || blobs->empty()) return true;
    for (const auto& blob : *blobs) row(blob);
    if (blobs->size() < 1000) return true;
    after = json_string(blobs->back(), "digest");
  }
}

struct TagName {
  std::string repository, tag;  // as the catalog keeps them: "docker.io/library/nginx", "1.27"
};

std::optional<TagName> tag_of(const std::string& image) {
  auto reference = registry::parse_image_name(image);
  if (!reference || reference->digest) return std::nullopt;
  return TagName{reference->registry + "/" + reference->repository,
                 reference->tag.empty() ? "latest" : reference->tag};
}

std::string short_digest(const std::string& digest) { return digest.substr(0, digest.find(':') + 13); }

// Oldest use first.
int ls_blobs(AdminAccess& access, bool json) {
  std::vector<Json> all;
  if (!each_blob(access, [&](const Json& blob) { all.push_back(blob); })) return 1;
  std::stable_sort(all.begin(), all.end(), [](const Json& a, const Json& b) {
    return json_int(a, "last_used") < json_int(b, "last_used");
  });
  if (json) {
    fmt::print("{}\n", dump_json(Json{{"blobs", std::move(all)}}, 2));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"DIGEST", "SIZE", "LAST USED", "STATE"}};
  const auto now = std::time(nullptr);
  for (const auto& blob : all) {
    const bool pinned = blob.value("pinned", false), in_use = blob.value("in_use", false);
    rows.push_back({json_string(blob, "digest"),
                    human_bytes(static_cast<std::uint64_t>(json_int(blob, "bytes"))),
                    human_age(json_int(blob, "last_used"), now),
                    pinned   ? "pinned"
                    : in_use ? "in use"
                             : ""});
  }
  fmt::print("{}", table(rows));
  return 0;
}

int ls_tags(AdminAccess& access, bool json) {
  auto body = asked(access, "GET", "/v1/cache/tags");
  if (!body) return 1;
  if (json) {
    fmt::print("{}\n", dump_json(*body, 2));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"IMAGE", "DIGEST", "CHECKED", "STATE"}};
  const auto now = std::time(nullptr);
  for (const auto& tag : body->value("tags", Json::array()))
    rows.push_back({json_string(tag, "repository") + ":" + json_string(tag, "tag"),
                    short_digest(json_string(tag, "digest")), human_age(json_int(tag, "checked_at"), now),
                    tag.value("cached", false) ? "cached" : "manifest evicted"});
  fmt::print("{}", table(rows));
  return 0;
}

int rm_one(AdminAccess& access, const std::string& name) {
  if (Digest::parse(name)) return asked(access, "POST", "/v1/cache/rm?digest=" + name) ? 0 : 1;
  const auto tag = tag_of(name);
  if (!tag)
    return complain(fmt::format("{} is neither a digest (sha256:…) nor an image name with a tag", name));
  auto tags = asked(access, "GET", "/v1/cache/tags");
  if (!tags) return 1;
  const std::string where = "/v1/cache/rm?repository=" + registry::percent_encode(tag->repository) +
                            "&tag=" + registry::percent_encode(tag->tag);
  if (!asked(access, "POST", where)) return 1;
  // The manifest goes with its last tag; layers may serve other images and go when room is needed.
  std::string digest;
  std::size_t holders = 0;
  for (const auto& row : tags->value("tags", Json::array()))
    if (json_string(row, "repository") == tag->repository && json_string(row, "tag") == tag->tag)
      digest = json_string(row, "digest");
  for (const auto& row : tags->value("tags", Json::array())) holders += json_string(row, "digest") == digest;
  if (!digest.empty() && holders == 1) static_cast<void>(access.ask("POST", "/v1/cache/rm?digest=" + digest));
  return 0;
}

}  // namespace

int cache_ls(AdminAccess& access, bool blobs, bool json) {
  return blobs ? ls_blobs(access, json) : ls_tags(access, json);
}

int cache_rm(AdminAccess& access, const std::vector<std::string>& names) {
  int status = 0;
  for (const auto& name : names) {
    const int failed = rm_one(access, name);
    if (!failed) fmt::print("removed {}\n", name);
    status |= failed;
  }
  return status;
}

int cache_pin(AdminAccess& access, const std::vector<std::string>& names, bool pinned) {
  int status = 0;
  for (const auto& name : names) {
    if (Digest::parse(name)) continue;
    complain(fmt::format("{} is no digest; `layerd cache ls --blobs` lists them", name));
    return 2;
  }
  for (const auto& name : names) {
    if (!asked(access, "POST", fmt::format("/v1/cache/{}?digest={}", pinned ? "pin" : "unpin", name)))
      status = 1;
  }
  return status;
}

int cache_gc(AdminAccess& access, bool json) {
  auto body = asked(access, "POST", "/v1/cache/gc");
  if (!body) return 1;
  if (json)
    fmt::print("{}\n", dump_json(*body));
  else
    fmt::print("freed {}\n", human_bytes(static_cast<std::uint64_t>(json_int(*body, "freed_bytes"))));
  return 0;
}

int cache_verify(AdminAccess& access, const std::vector<std::string>& digests, bool json) {
  std::vector<std::string> todo = digests;
  if (todo.empty() &&
      !each_blob(access, [&](const Json& blob) { todo.push_back(json_string(blob, "digest")); }))
    return 1;
  Json bad = Json::array();
  std::size_t done = 0, failed = 0;
  const bool progress = is_terminal(2) && !json;
  for (const auto& digest : todo) {
    auto body = asked(access, "POST", "/v1/cache/verify?digest=" + digest);
    if (!body) ++failed;
    if (body && !body->value("ok", true)) {
      bad.push_back(digest);
      if (!json) fmt::print("bad: {} (set aside)\n", digest);
    }
    if (progress) fmt::print(stderr, "\r{} of {} blobs verified", ++done, todo.size());
  }
  if (progress && !todo.empty()) fmt::print(stderr, "\n");
  if (json)
    fmt::print("{}\n", dump_json(Json{{"verified", todo.size() - failed}, {"failed", failed}, {"bad", bad}}));
  else
    fmt::print("{} blobs verified, {} bad\n", todo.size() - failed, bad.size());
  return bad.empty() && failed == 0 ? 0 : 1;
}

}  // namespace layerd::daemon
