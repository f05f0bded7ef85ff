#include "daemon/setup/plan.h"

#include <set>

#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {

void add_change(Plan& plan, FileChange change) {
  plan.uses.push_back(change.path);
  if (change.before != change.after) plan.changes.push_back(std::move(change));
}

std::string authority_of(std::string_view url) {
  const auto parsed = registry::parse_endpoint(url);
  return parsed ? parsed->authority() : std::string();
}

bool same_endpoint(std::string_view a, std::string_view b) {
  const auto one = registry::parse_endpoint(a), other = registry::parse_endpoint(b);
  return one && other && one->str() == other->str();
}

std::vector<std::string> hosts_to_name(const Input& input, const std::vector<std::string>& more) {
  std::set<std::string> hosts{std::string(registry::kDockerHub)};
  for (const auto* list : {&input.image_hosts, &input.closed_hosts, &more})
    for (const auto& host : *list)
      if (auto name = registry::parse_registry_name(host)) hosts.insert(name->text);
  hosts.erase(authority_of(input.url));  // images that somebody named after layerd itself
  return {hosts.begin(), hosts.end()};
}

}  // namespace layerd::daemon::setup
