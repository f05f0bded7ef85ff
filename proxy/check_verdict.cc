#include "proxy/check_verdict.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "proxy/registry/text.h"

namespace layerd::proxy {
namespace {

std::string filled(std::string_view text, const VerdictFacts& facts) {
  const std::pair<std::string_view, const std::string*> words[] = {{"{host}", &facts.host},
                                                                   {"{registry}", &facts.registry},
                                                                   {"{repository}", &facts.repository},
                                                                   {"{reference}", &facts.reference},
                                                                   {"{source}", &facts.source},
                                                                   {"{other_scheme}", &facts.other_scheme}};
  std::string out;
  while (!text.empty()) {
    const auto word = std::find_if(std::begin(words), std::end(words),
                                   [&](const auto& pair) { return text.starts_with(pair.first); });
    if (word == std::end(words)) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    out += word->second->empty() ? "it" : *word->second;
    text.remove_prefix(word->first.size());
  }
  return out;
}

// The personal edition of Aliyun knows an account's images only under the account's own domain.
bool is_general_aliyun(std::string_view host) {
  return host.starts_with("registry.") && host.ends_with(".aliyuncs.com");
}

std::string remedy_of(Diagnosis code, const VerdictFacts& facts) {
  const bool is_clock = code == Diagnosis::tls_expired || code == Diagnosis::tls_not_yet_valid;
  if (is_clock && !facts.clock.empty()) return "set this machine's clock (timedatectl, chronyc makestep)";
  if (code == Diagnosis::credentials_refused && !facts.secret_flaw.empty())
    return filled("write the secret into {source} without that; a changed file counts at once", facts);
  if (code == Diagnosis::repository_denied && facts.source.empty())
    return filled("add credentials for {host} (configs.\"{host}\".auth), or correct the name", facts);
  const bool is_refused = code == Diagnosis::repository_denied || code == Diagnosis::credentials_refused ||
                          code == Diagnosis::credentials_missing;
  auto remedy = filled(text_of(code).remedy, facts);
  if (is_refused && is_general_aliyun(facts.host))
    remedy +=
        "; an account of the personal edition works only at its own domain, "
        "crpi-....personal.cr.aliyuncs.com";
  return remedy;
}

Diagnosis code_of_walk(const Error& error, const VerdictFacts& facts) {
  const auto code = diagnosis_of(error);
  // http:// that leads to https:// drops the credentials on the way.
  if (!facts.redirect.empty() && error.code == Errc::denied) return Diagnosis::scheme_mismatch;
  return code;
}

}  // namespace

CheckDiagnosis verdict_of(const Error& error, const VerdictFacts& facts) {
  CheckDiagnosis verdict;
  verdict.code = code_of_walk(error, facts);
  verdict.cause = std::string(registry::trim_all(error.message));
  if (verdict.cause.empty()) verdict.cause = filled(text_of(verdict.code).cause, facts);
  const bool is_clock =
      verdict.code == Diagnosis::tls_expired || verdict.code == Diagnosis::tls_not_yet_valid;
  if (is_clock && !facts.clock.empty()) verdict.cause += "; " + facts.clock;
  if (verdict.code == Diagnosis::credentials_refused && !facts.secret_flaw.empty())
    verdict.cause += "; the secret is odd: " + facts.secret_flaw;
  if (verdict.code == Diagnosis::scheme_mismatch && !facts.redirect.empty())
    verdict.cause += fmt::format("; http://{} only leads to {}", facts.host, facts.redirect);
  verdict.remedy = remedy_of(verdict.code, facts);
  return verdict;
}

CheckDiagnosis verdict_of(Diagnosis diagnosis, std::string cause, const VerdictFacts& facts) {
  if (cause.empty()) cause = filled(text_of(diagnosis).cause, facts);
  return {diagnosis, std::move(cause), remedy_of(diagnosis, facts)};
}

std::string flaw_of_secret(std::string_view secret) {
  const auto has = [&](std::string_view letters) { return secret.find_first_of(letters) != secret.npos; };
  if (secret.empty()) return "it is empty";
  if (has("\r\n")) return "there is a line break in it";
  if (has("\t")) return "there is a tab in it";
  if (secret.front() == ' ') return "it begins with a space";
  if (secret.back() == ' ') return "it ends with a space";
  const auto quoted = [&](char c) { return secret.size() > 1 && secret.front() == c && secret.back() == c; };
  if (quoted('"') || quoted('\'')) return "it stands in quotes, which are sent along";
  return {};
}

}  // namespace layerd::proxy
