#include "proxy/check_recorder.h"

#include <fmt/core.h>

#include "proxy/upstream/wire.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

std::string scopes_of(const upstream::TokenRequest& request) {
  std::string all;
  for (const auto& scope : request.scopes) all += (all.empty() ? "" : " ") + printable(scope, 120);
  return all.empty() ? "no scope" : all;
}

}  // namespace

void CheckRecorder::begin_endpoint() {
  told_credentials_ = told_token_ = waits_for_token_ = false;
  elsewhere_.clear();
  facts_.source.clear();
  facts_.secret_flaw.clear();
}

void CheckRecorder::failed(std::string_view step, const Error& error) {
  if (waits_for_token_) step = "token";
  const bool is_about_them =
      error.diagnosis == "credentials_unusable" || error.diagnosis == "credentials_other_host";
  if (is_about_them) step = "credentials";
  report_.add(step, StepState::bad, printable(error.message, 1000));
}

void CheckRecorder::answered(const registry::Url& url, const http::ResponseHead& head, bool is_elsewhere) {
  if (is_elsewhere) elsewhere_ = upstream::origin_name(url);
  const auto left = head.headers.get("ratelimit-remaining"), most = head.headers.get("ratelimit-limit");
  if (!left || !most) return;
  const auto number = [](std::string_view text) { return printable(text.substr(0, text.find(';')), 20); };
  rate_limit_ = fmt::format("{} of {} requests left", number(*left), number(*most));
}

void CheckRecorder::looked_for_credentials(const upstream::FoundCredentials& found) {
  if (told_credentials_) return;
  told_credentials_ = true;
  CheckStep* step = nullptr;
  if (found.credentials) {
    const auto& value = found.credentials->value;
    facts_.source = printable(value.source, 300);
    step = &report_.add("credentials", StepState::good, facts_.source.empty() ? "configs" : facts_.source);
    if (!value.password.empty()) facts_.secret_flaw = flaw_of_secret(value.password);
    if (!facts_.secret_flaw.empty()) step->details.push_back("the secret is odd: " + facts_.secret_flaw);
    for (const auto& remark : found.remarks) step->details.push_back(printable(remark, 400));
  } else {
    step = &report_.add("credentials", StepState::told, "none are configured, so it is asked without");
  }
  step->facts["source"] = facts_.source;
  for (const auto& seen : found.steps) step->details.push_back(printable(seen.said, 400));
}

void CheckRecorder::asks_for_token(const upstream::TokenRequest& request, std::string_view note) {
  waits_for_token_ = true;
  token_from_ = upstream::origin_name(request.realm);
  token_scope_ = scopes_of(request);
  if (!note.empty()) report_.add("credentials", StepState::told, printable(note, 600));
}

void CheckRecorder::got_token(const upstream::TokenGrant& grant) {
  waits_for_token_ = false;
  if (told_token_) return;
  if (!grant.left_out.empty()) report_.add("credentials", StepState::told, printable(grant.left_out, 600));
  told_token_ = true;
  const auto seconds = std::chrono::round<std::chrono::seconds>(grant.good_for).count();
  auto& step = report_.add("token", StepState::good,
                           fmt::format("from {} for {}, good for {} s{}", token_from_, token_scope_, seconds,
                                       grant.is_fresh ? "" : " more (one that layerd held already)"));
  step.facts = {{"from", token_from_}, {"scope", token_scope_}, {"seconds", seconds}};
}

}  // namespace layerd::proxy
