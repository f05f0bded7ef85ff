// CheckRecorder: turns what a flow comes by on its way into steps of a report: the credentials that were
// looked for, the token, the host that a redirect led to. Loop thread. The report outlives it.
#pragma once

#include <string>

#include "proxy/check_report.h"
#include "proxy/check_verdict.h"
#include "proxy/upstream/flow_watcher.h"

namespace layerd::proxy {

class CheckRecorder final : public upstream::FlowWatcher {
 public:
  CheckRecorder(CheckReport& report, VerdictFacts& facts) : report_(report), facts_(facts) {}

  // Another endpoint: credentials and token are told anew.
  void begin_endpoint();
  // Adds the step an error ended: the token's or the credentials' if that was under way, else `step`.
  void failed(std::string_view step, const Error& error);
  // "https://storage.example" of the last answer that came from elsewhere; empty: none did.
  const std::string& elsewhere() const { return elsewhere_; }
  // "73 of 100 requests left", as Docker Hub says it; empty: it was not said.
  const std::string& rate_limit() const { return rate_limit_; }

  void answered(const registry::Url& url, const http::ResponseHead& head, bool is_elsewhere) override;
  void looked_for_credentials(const upstream::FoundCredentials& found) override;
  void asks_for_token(const upstream::TokenRequest& request, std::string_view note) override;
  void got_token(const upstream::TokenGrant& grant) override;

 private:
  CheckReport& report_;
  VerdictFacts& facts_;
  bool told_credentials_ = false, told_token_ = false, waits_for_token_ = false;
  std::string token_from_, token_scope_, elsewhere_, rate_limit_;
};

}  // namespace layerd::proxy
