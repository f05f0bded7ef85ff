// SitePart: everything of sharing between nodes that App wires: members, trust, the listener, the wire and
// the Site above them; and what the site remembers, for SiteFetcher. It decides nothing. Loop thread.
//
// It outlives the downloads, which hold shares of the Site; stop_serving() ends what reads from them before
// they go.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/kubeconfig_keeper.h"
#include "daemon/settings.h"
#include "proxy/http/client_pool.h"
#include "proxy/net/net_dialer.h"
#include "proxy/net/peer_identity.h"
#include "proxy/net/peer_listener.h"
#include "proxy/peer_shelf.h"
#include "proxy/peers/http_wire.h"
#include "proxy/peers/member_names.h"
#include "proxy/peers/members.h"
#include "proxy/peers/peer_service.h"
#include "proxy/peers/site.h"
#include "proxy/peers/traffic.h"
#include "proxy/site_fetcher.h"
#include "runtime/json.h"

namespace layerd::daemon {

class SitePart final : public proxy::SiteMemory {
 public:
  struct Parts {
    UvLoop& loop;
    Workers& workers;
    Metrics& metrics;
    net::Resolver& resolver;
    net::Dialer& dialer;  // for the API server of a cluster
    cache::BlobStore& store;
    cache::Catalog& catalog;
    proxy::DownloadTable& downloads;
  };
  // settings->peers.listen is there. Reads secrets and certificates (blocks). What is wrong with them, with
  // the port, or with a kubeconfig costs the sharing and nothing else: it is told (trouble(), json()), and
  // tried again every 2 s until it goes.
  static std::unique_ptr<SitePart> start(const Parts& parts, SettingsPtr settings);
  ~SitePart() override;

  void apply(SettingsPtr settings);
  // Called when the list of members has changed.
  void when_members_change(std::function<void()> changed) { changed_ = std::move(changed); }
  // Nobody is admitted or served any more.
  void stop_serving();

  peers::Sharing& sharing() { return *site_; }
  std::vector<net::Address> addresses() const;  // where it listens for members, or will
  Json json();                                  // docs/status.md, GET /v1/peers
  Json units(const Digest&) const;              // which bytes of a running download come from where
  std::string trouble() const;
  // Members that did not fail when they were needed last, ourselves included; at least 1.
  std::size_t alive() const;

  Ticket recall(const peers::Recall& recall, Done<std::vector<Word>> done) override;
  Ticket get(const std::string& member, const peers::BlobName& blob, ByteCount size,
             Done<std::unique_ptr<http::BodyReader>> done) override;
  void avoid(const std::string& member, const std::string& why) override;

 private:
  SitePart(const Parts& parts, SettingsPtr settings);
  void open_port();
  void open_later();
  peers::MembersSettings members_settings() const;
  void members_changed();

  Parts parts_;
  SettingsPtr settings_;
  const net::Address wanted_;  // where to listen
  peers::Traffic traffic_;
  peers::ResolverNames names_;
  Metrics unseen_;                 // the counters of http clients are of upstreams
  http::PooledClient api_client_;  // without the proxies of registries
  KubeconfigKeeper kubeconfig_;
  std::unique_ptr<net::PeerIdentity> identity_;
  std::unique_ptr<peers::Members> members_;
  std::unique_ptr<peers::HttpWire> wire_;
  proxy::PeerShelf shelf_;
  std::unique_ptr<peers::Site> site_;
  std::unique_ptr<peers::PeerService> service_;
  std::unique_ptr<net::PeerListener> listener_;  // null while there is none
  std::function<void()> changed_;                // the list of members
  std::string closed_;                           // why there is none
  Ticket opening_;
};

}  // namespace layerd::daemon
