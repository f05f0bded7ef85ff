#include "daemon/peers_json.h"

namespace layerd::daemon {
namespace {

Json member_json(const peers::Member& member, bool is_self, const FiguresOf& figures) {
  Json row = {{"id", member.id},
              {"name", member.name},
              {"zone", member.zone},
              {"sources", member.sources},
              {"is_self", is_self}};
  if (is_self) return row;
  const PeerFigures known = figures ? figures(member.id) : PeerFigures{};
  row["state"] = known.state;
  row["latency_ms"] = known.latency_ms ? Json(*known.latency_ms) : Json();
  row["sent_bytes"] = known.sent_bytes;
  row["received_bytes"] = known.received_bytes;
  row["faults"] = known.faults;
  row["wrong_units"] = known.wrong_units;
  row["last_error"] = known.last_error;
  return row;
}

}  // namespace

Json peers_json(const PeersSettings& settings, const peers::Members& members, const std::string& listening,
                const FiguresOf& figures, const std::vector<std::string>& more_complaints,
                const std::vector<std::string>& unlisted) {
  const peers::MemberListPtr& list = members.list();
  Json rows = Json::array(), sources = Json::array(), complaints = more_complaints;
  for (const peers::Member& member : list->all())
    rows.push_back(member_json(member, member.id == list->self(), figures));
  for (const std::string& id : unlisted) {
    peers::Member member;
    member.id = id;
    rows.push_back(member_json(member, false, figures));
  }
  for (const peers::SourceReport& source : members.sources())
    sources.push_back({{"name", source.name},
                       {"of", source.of},
                       {"members", source.members},
                       {"is_kept", source.is_kept},
                       {"complaints", source.complaints}});
  for (const std::string& complaint : members.complaints()) complaints.push_back(complaint);
  const peers::Member* self = list->find(list->self());
  return {{"is_on", settings.is_on()},
          {"site", settings.members.site},
          {"zone", self ? self->zone : settings.members.zone},
          {"listen", listening},
          {"trust", !settings.secret_file.empty()  ? "secret"
                    : settings.tls.ca_file.empty() ? "none"
                                                   : "tls"},
          {"self", list->self()},
          {"members", std::move(rows)},
          {"sources", std::move(sources)},
          {"complaints", std::move(complaints)}};
}

}  // namespace layerd::daemon
