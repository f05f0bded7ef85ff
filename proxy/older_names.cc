#include "proxy/older_names.h"

namespace layerd::proxy {
namespace {

using cache::RepositoryClass;

// Afterwards the newer of the two classes counts. True: what was kept by the older name may be kept by that
// of now, since no more people get it than did.
bool take_over_class(cache::Catalog& catalog, const registry::Target& target) {
  const auto older = catalog.repository(target.older_key);
  if (!older || older->repository_class == RepositoryClass::unknown) return false;
  const auto own = catalog.repository(target.key());
  const bool is_newer = !own || own->checked_at < older->checked_at;
  if (is_newer) catalog.put_repository(target.key(), *older);
  const auto now = is_newer ? older->repository_class : own->repository_class;
  return older->repository_class == RepositoryClass::open || older->repository_class == now;
}

void take_over_link(cache::Catalog& catalog, const registry::Target& target, const Digest& digest) {
  const auto link = catalog.link(target.older_key, digest);
  if (link && !catalog.link(target.key(), digest)) catalog.put_links(target.key(), {*link});
}

}  // namespace

void take_over_older_name(cache::Catalog& catalog, const registry::Target& target, const std::string& tag,
                          const std::optional<Digest>& digest) {
  if (target.older_key.empty() || !take_over_class(catalog, target)) return;
  if (digest) return take_over_link(catalog, target, *digest);
  const auto older = catalog.tag(target.older_key, tag);
  if (!older) return;
  const auto own = catalog.tag(target.key(), tag);
  if (!own || own->checked_at < older->checked_at) catalog.put_tag(target.key(), tag, *older);
  take_over_link(catalog, target, older->digest);
  catalog.remove_tag(target.older_key, tag);
}

}  // namespace layerd::proxy
