// What lists members, whole and byte by byte: the answers of an API server (through JsonSieve), a file of
// members, the kept lists. Cut in two places a stream says the same; what is taken fits its bounds.
#include <cstdint>

#include "proxy/net/address.h"
#include "proxy/peers/json_sieve.h"
#include "proxy/peers/kept_members.h"
#include "proxy/peers/kubernetes_nodes.h"
#include "proxy/peers/member_lines.h"
#include "runtime/check.h"

namespace {

using namespace layerd::peers;

std::string sieved(std::string_view text, std::size_t step, const KubernetesMembers& settings) {
  JsonSieve sieve(wanted_of_nodes(settings));
  std::string all;
  const auto each = [&](const JsonSieve::Piece& piece) {
    LAYERD_CHECK(piece.text.size() <= JsonSieve::kMostPiece);
    all += (piece.is_item ? "i" : "d") + piece.text + "\n";
    if (const auto node = parse_node(piece.text, settings, "site")) {
      LAYERD_CHECK(!node->name.empty() && node->name.size() <= kMostNodeName);
      LAYERD_CHECK(node->address.empty() || layerd::net::parse_address(node->address, 1));
      LAYERD_CHECK(node->zone.empty() || is_zone_name(node->zone));
    }
    static_cast<void>(parse_list_end(piece.text));
    static_cast<void>(parse_node_event(piece.text, settings, "site"));
  };
  for (std::size_t at = 0; at < text.size(); at += step)
    if (!sieve.feed(text.substr(at, step), each)) return all + "broken";
  return all + (sieve.is_between() ? "" : "open");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  KubernetesMembers settings;
  settings.site_label = "example.com/site";
  const std::string whole = sieved(text, size + 1, settings);
  LAYERD_CHECK(whole == sieved(text, 1, settings));
  const MemberLines lines = parse_member_lines(text, 5152);
  LAYERD_CHECK(lines.complaints.size() <= 21);
  for (const ListedMember& member : lines.members) {
    const auto again = parse_member(member.str() + " " + member.zone, 1);
    LAYERD_CHECK(again.ok() && *again == member);
  }
  if (const auto kept = parse_kept(text, ""))
    for (const KeptList& list : *kept)
      for (const auto& member : list.members) LAYERD_CHECK(member.id == member.address.str());
  return 0;
}
