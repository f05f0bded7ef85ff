#include "proxy/peers/kubernetes_nodes.h"

#include <algorithm>

#include "proxy/net/address.h"
#include "proxy/peers/json_sieve.h"
#include "proxy/peers/member_lines.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostToken = 8192;  // of a page
constexpr std::size_t kMostVersion = 256;

Error no_node(std::string_view why) {
  return {Errc::upstream_protocol, "no node as Kubernetes describes them: " + std::string(why)};
}

const Json* part(const Json& object, const char* outer, const char* inner) {
  const Json* found = json_find(object, outer);
  return found ? json_find(*found, inner) : nullptr;
}

std::string label_of(const Json& node, const std::string& label) {
  const Json* labels = part(node, "metadata", "labels");
  return labels && !label.empty() ? json_string(*labels, label.c_str()) : std::string();
}

std::string internal_address(const Json& node) {
  const Json* addresses = part(node, "status", "addresses");
  if (!addresses || !addresses->is_array()) return {};
  for (const Json& row : *addresses) {
    if (json_string(row, "type") != "InternalIP") continue;
    const auto numeric = net::parse_address(json_string(row, "address"), 0);
    if (!numeric) continue;
    const auto kind = net::kind_of(*numeric);
    if (kind != net::AddressKind::unspecified && kind != net::AddressKind::multicast &&
        kind != net::AddressKind::loopback)
      return numeric->host;
  }
  return {};
}

bool is_ready(const Json& node) {
  const Json* conditions = part(node, "status", "conditions");
  if (!conditions || !conditions->is_array()) return false;
  return std::any_of(conditions->begin(), conditions->end(), [](const Json& row) {
    return json_string(row, "type") == "Ready" && json_string(row, "status") == "True";
  });
}

std::string version_of(const Json& object) {
  const Json* metadata = json_find(object, "metadata");
  std::string version = metadata ? json_string(*metadata, "resourceVersion") : std::string();
  // It is opaque to us, and goes into a URL.
  if (version.size() > kMostVersion) version.clear();
  return version;
}

Result<NodeFacts> node_of(const Json& object, const KubernetesMembers& settings, const std::string& site) {
  const Json* metadata = json_find(object, "metadata");
  NodeFacts node;
  node.name = metadata ? json_string(*metadata, "name") : std::string();
  if (node.name.empty() || node.name.size() > kMostNodeName) return no_node("it has no name");
  node.name = printable(node.name, kMostNodeName);
  node.address = internal_address(object);
  node.is_ready = is_ready(object);
  const std::string zone = label_of(object, settings.zone_label);
  if (is_zone_name(zone)) node.zone = zone;
  node.is_of_site = settings.site_label.empty() || label_of(object, settings.site_label) == site;
  return node;
}

ListFacts list_end_of(const Json& document) {
  ListFacts facts;
  facts.resource_version = version_of(document);
  const Json* metadata = json_find(document, "metadata");
  facts.more = metadata ? json_string(*metadata, "continue") : std::string();
  if (facts.more.size() > kMostToken) facts.more.clear();
  facts.code = static_cast<int>(std::clamp<std::int64_t>(json_int(document, "code"), 0, 999));
  facts.message = printable(json_string(document, "message"));
  return facts;
}

Result<Json> parse(std::string_view text) {
  auto json = parse_json(text, {JsonSieve::kMostPiece, static_cast<int>(JsonSieve::kMostDepth)});
  if (!json) return no_node(json.error().message);
  if (!json->is_object()) return no_node("an object was expected");
  return json;
}

}  // namespace

std::set<std::string, std::less<>> wanted_of_nodes(const KubernetesMembers& settings) {
  return {"type",
          "object",
          "metadata",
          "name",
          "labels",
          "resourceVersion",
          "continue",
          "status",
          "addresses",
          "address",
          "conditions",
          "code",
          "message",
          settings.site_label,
          settings.zone_label};
}

Result<NodeFacts> parse_node(std::string_view text, const KubernetesMembers& settings,
                             const std::string& site) {
  auto json = parse(text);
  if (!json) return std::move(json).error();
  return node_of(*json, settings, site);
}

Result<ListFacts> parse_list_end(std::string_view text) {
  auto json = parse(text);
  if (!json) return std::move(json).error();
  return list_end_of(*json);
}

Result<NodeEvent> parse_node_event(std::string_view text, const KubernetesMembers& settings,
                                   const std::string& site) {
  auto json = parse(text);
  if (!json) return std::move(json).error();
  const Json* object = json_find(*json, "object");
  const std::string type = json_string(*json, "type");
  if (!object || !object->is_object()) return no_node("an event without an object");
  NodeEvent event;
  event.resource_version = version_of(*object);
  if (type == "BOOKMARK") return event;
  if (type == "ERROR") {
    event.kind = NodeEvent::Kind::error;
    event.status = list_end_of(*object);
    return event;
  }
  if (type != "ADDED" && type != "MODIFIED" && type != "DELETED")
    return no_node("an event of an unknown type");
  event.kind = type == "DELETED" ? NodeEvent::Kind::deleted : NodeEvent::Kind::changed;
  auto node = node_of(*object, settings, site);
  if (!node) return std::move(node).error();
  event.node = std::move(*node);
  return event;
}

}  // namespace layerd::peers
