#include "proxy/links.h"

namespace layerd::proxy {
namespace {

using cache::LinkKind;
using cache::RepositoryClass;

// What some registry gives to anybody, and what one gives to this node. No repository is called so.
const cache::RepositoryKey kOpen = "*open";
const cache::RepositoryKey kNode = "*node";

}  // namespace

std::optional<cache::Link> Links::of(const cache::RepositoryKey& repository, const Digest& digest,
                                     Who who) const {
  auto link = catalog_.link(repository, digest);
  if (link && link->kind == LinkKind::told && !may_be_told(repository, digest, who)) link.reset();
  return link;
}

// Not what is here, or on its way, by the right of some other repository: that one need not be shared with
// members, nor be open to who asks now. Who asks as the node may have what any registry gives to the node.
bool Links::may_be_told(const cache::RepositoryKey& repository, const Digest& digest, Who who) const {
  if (!store_.known_size(digest) && !downloads_.runs_for_others(digest, repository)) return true;
  if (catalog_.link(kOpen, digest)) return true;
  return who == Who::node && catalog_.link(kNode, digest);
}

void Links::put(const cache::RepositoryKey& repository, std::vector<cache::Link> links) {
  std::vector<Digest> digests;
  digests.reserve(links.size());
  for (const auto& link : links) digests.push_back(link.digest);
  catalog_.put_links(repository, std::move(links));
  open_by_class(repository, digests);
}

void Links::put_told(const cache::RepositoryKey& repository, std::vector<cache::Link> links) {
  std::erase_if(links, [&](const cache::Link& link) {
    const auto kept = catalog_.link(repository, link.digest);
    return kept && kept->kind != LinkKind::told;
  });
  for (auto& link : links) link.kind = LinkKind::told;
  catalog_.put_links(repository, std::move(links));
}

void Links::came_alone(const cache::RepositoryKey& repository, const Digest& digest) {
  if (auto link = catalog_.link(repository, digest); link && link->kind == LinkKind::told) {
    link->kind = LinkKind::listed;
    catalog_.put_links(repository, {*std::move(link)});
  }
  open_by_class(repository, {digest});
}

void Links::open_by_class(const cache::RepositoryKey& repository, const std::vector<Digest>& digests) {
  const auto kept = catalog_.repository(repository);
  if (!kept) return;
  const bool is_open = kept->repository_class == RepositoryClass::open;
  if (!is_open && kept->repository_class != RepositoryClass::node) return;
  std::vector<cache::Link> marks;
  marks.reserve(digests.size());
  for (const auto& digest : digests) marks.push_back({digest, LinkKind::listed, 0, {}});
  catalog_.put_links(is_open ? kOpen : kNode, std::move(marks));
}

}  // namespace layerd::proxy
