#include "proxy/peers/site_settings.h"

namespace layerd::peers {

SiteMetrics::SiteMetrics(Metrics& metrics)
    : bytes_from_members(metrics.counter("layerd_shared_bytes_total",
                                         "bytes of blobs that downloads took, by where they came from",
                                         {{"from", "member"}})),
      bytes_from_upstream(metrics.counter("layerd_shared_bytes_total",
                                          "bytes of blobs that downloads took, by where they came from",
                                          {{"from", "upstream"}})),
      units_from_members(metrics.counter("layerd_shared_units_total",
                                         "units of blobs that are here, by where they came from",
                                         {{"from", "member"}})),
      units_from_upstream(metrics.counter("layerd_shared_units_total",
                                          "units of blobs that are here, by where they came from",
                                          {{"from", "upstream"}})),
      leases_given(metrics.counter("layerd_peer_leases_given_total",
                                   "units for which this node, as coordinator, sent an asker upstream")),
      leases_taken(
          metrics.counter("layerd_peer_leases_total",
                          "units this node fetched upstream for the site, by a coordinator's lease")),
      leaseless(metrics.counter("layerd_peer_leaseless_total",
                                "units this node fetched upstream without a lease: nobody coordinated")),
      referrals(metrics.counter("layerd_peer_referrals_total",
                                "asks that this node, as coordinator, answered with other members")),
      redirects(metrics.counter("layerd_peer_redirects_total",
                                "asks that this node answered with a better coordinator")),
      dead_members(metrics.counter("layerd_peer_dead_total",
                                   "times a member was found not to answer, or to refuse us or be refused")),
      left_members(metrics.counter("layerd_peer_left_total",
                                   "streams from members that were left for a faster source")),
      wrong_units(metrics.counter("layerd_peer_wrong_units_total",
                                  "units from members that were not what they are said to be")),
      wrong_blobs(metrics.counter("layerd_peer_wrong_blobs_total",
                                  "blobs with bytes from members whose digest was wrong")),
      messages(metrics.counter("layerd_peer_messages_total",
                               "asks, probes, tells and streams begun with members")),
      uploads(metrics.counter("layerd_peer_uploads_total", "streams of bytes begun for members")),
      all_(metrics) {}

void SiteMetrics::wrong_unit_of(const std::string& member) {
  constexpr std::size_t kMostNamed = 64;
  const bool is_named =
      named_.contains(member) || (named_.size() < kMostNamed && named_.insert(member).second);
  all_.counter("layerd_peer_wrong_units_by_member_total",
               "units that were not what they are said to be, by the member they came from",
               {{"member", is_named ? member : "others"}})
      .add();
}

}  // namespace layerd::peers
