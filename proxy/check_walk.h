// CheckWalk: the pull of an image, or the login to a registry, walked step by step and explained
// (docs/check.md, decision 0006). It asks what a pull asks, endpoint after endpoint in the order of a pull,
// and ends with one diagnosis or none. Writes nothing into the cache and changes no breaker. Loop thread;
// cancelling aborts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/check_endpoint.h"
#include "proxy/check_image.h"
#include "proxy/check_parts.h"
#include "proxy/registry/reference.h"

namespace layerd::proxy {

// Is `name` to be read as a registry ("ghcr.io", "harbor:30002", "https://nexus.local/") and not as an image?
// A bare "name:5000" is one when the configuration knows it. Answers host[:port], or nothing.
std::optional<std::string> registry_in(std::string_view name, const registry::Rules& rules);

// Errors: invalid_request: the name is neither an image nor a registry, or the platform is none.
Result<Ok> check_question(const CheckQuestion& question);

class CheckWalk final : public Pending<CheckReport> {
 public:
  // `parts` outlives the walk; check_question() is content with `question`. Answers a report always, no
  // error.
  CheckWalk(const CheckParts& parts, CheckQuestion question, Done<CheckReport> done);
  // Once.
  void start();

 private:
  void read_name();
  void resolve(const std::string& ns, const std::string& repository);
  void tell_rules(const std::string& ns, const std::string& repository);
  void next_endpoint();
  void on_endpoint(Result<upstream::FetchResponse> response);
  void walk_image(const upstream::FetchResponse& response);
  void on_image(Result<Ok> result);
  void answer_from_cache();
  void all_failed();
  void tell_cache(StepState state);
  void tell_access();
  void end(std::string_view step, const Error& error);
  void finish();
  void on_cancel() noexcept override;

  const CheckParts& parts_;
  const CheckQuestion question_;
  const Deadline deadline_;
  CheckReport report_;
  VerdictFacts facts_;
  CheckRecorder recorder_;
  CheckKit kit_;
  std::optional<registry::ImageName> image_;  // nothing: a registry
  registry::Platform platform_;
  registry::TargetPtr target_;
  std::size_t endpoint_ = 0;
  std::vector<Error> errors_;           // of the endpoints so far
  std::optional<bool> by_credentials_;  // an endpoint served the manifest: because of the node's credentials
  std::vector<CheckDiagnosis> verdicts_;  // of them
  std::unique_ptr<EndpointWalk> asking_;
  std::unique_ptr<ImageWalk> looking_;
  Ticket pending_;
};

Ticket check_name(const CheckParts& parts, CheckQuestion question, Done<CheckReport> done);

}  // namespace layerd::proxy
