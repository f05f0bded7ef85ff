// ImageWalk: what stands behind a name, once an endpoint has said that it is there: the manifest, its
// platforms, what is cached of it, and one byte of a blob from where blobs lie. Loop thread. Destroying it
// aborts.
#pragma once

#include <memory>
#include <string>

#include "proxy/check_fetch.h"
#include "proxy/check_parts.h"
#include "proxy/registry/manifest.h"
#include "proxy/registry/platform.h"

namespace layerd::proxy {

class ImageWalk {
 public:
  // References outlive this. reference: the digest that was told, else the tag.
  ImageWalk(const CheckParts& parts, CheckKit& kit, CheckReport& report, CheckRecorder& recorder,
            registry::TargetPtr target, const registry::Rules& rules, std::size_t endpoint,
            std::string reference, registry::Platform platform, Deadline deadline);
  ImageWalk(const ImageWalk&) = delete;
  ImageWalk& operator=(const ImageWalk&) = delete;

  // Once. Every error has its step in the report already. The callback may destroy this.
  void start(Done<Ok> done);

 private:
  void get_manifest();
  void on_kept(Result<Bytes> bytes);
  void on_response(Result<upstream::FetchResponse> response);
  void on_body(std::string type, Result<upstream::SmallBody> body);
  void read(std::string_view bytes, const std::string& type, bool is_kept);
  void choose(std::string_view index);
  void tell_blobs(const registry::ManifestInfo& manifest);
  void read_config();
  void on_config(std::string_view config);
  void probe();
  void on_probe(Result<upstream::FetchResponse> response);
  void fetch(upstream::FetchRequest request, Done<upstream::FetchResponse> done);
  std::optional<ByteCount> kept(const Digest& digest) const;
  void fail(std::string_view step, Error error);
  void finish(Result<Ok> result);

  const CheckParts& parts_;
  CheckReport& report_;
  CheckRecorder& recorder_;
  registry::TargetPtr target_;
  const std::size_t endpoint_;
  std::string reference_;  // of the manifest being looked at
  const registry::Platform platform_;

  int depth_ = 0;                    // index in index
  registry::ManifestInfo manifest_;  // of one platform
  CheckFetch fetching_;
  Done<Ok> done_;
  Ticket pending_;
};

}  // namespace layerd::proxy
