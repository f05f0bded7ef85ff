#include "proxy/peers/kubernetes_members.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/address.h"
#include "proxy/registry/text.h"
#include "runtime/guarded_file.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

using namespace std::chrono_literals;

constexpr int kPage = 500;          // nodes
constexpr int kWatchSeconds = 290;  // then the server ends it and we begin another
constexpr Duration kConnect = 10s, kHead = 30s, kStall = 30s;
constexpr Duration kShortWatch = 5s;  // one that ends sooner without a word is a failure
constexpr Duration kMostRetryAfter = 5min;
constexpr Duration kFileAgain = 2s;  // for a file of ours that is missing or bad: nobody else is troubled
constexpr std::size_t kMostRefusal = 64 * 1024;
constexpr std::size_t kMostNamed = 5;  // nodes, in a complaint

Duration retry_after_of(const http::Headers& headers) {
  const auto value = headers.get("Retry-After");
  const auto seconds = value ? registry::parse_digits(registry::trim(*value)) : std::nullopt;
  if (!seconds) return Duration::zero();
  return std::min<Duration>(std::chrono::seconds(std::min<std::uint64_t>(*seconds, 3600)), kMostRetryAfter);
}

// What the server's own words leave out: what to do.
const char* remedy_of(int status) {
  switch (status) {
    case 401:
      return "; its token or certificate is not valid (any more)";
    case 403:
      return "; give the account get, list and watch on nodes";
    case 404:
      return "; is that a Kubernetes API server?";
    default:
      return "";
  }
}

}  // namespace

KubernetesMemberSource::KubernetesMemberSource(const Parts& parts, KubernetesMembers settings,
                                               std::string site)
    : MemberSource("peers.kubernetes",
                   fmt::format("{} {}{}{} port {}", settings.server(), settings.site_label,
                               settings.site_label.empty() ? "" : "=",
                               settings.site_label.empty() ? "all nodes" : site, settings.member_port)),
      parts_(parts),
      settings_(std::move(settings)),
      site_(std::move(site)) {}

void KubernetesMemberSource::start(std::vector<Member> kept, Callback<void()> changed) {
  members_ = std::move(kept);
  changed_ = std::move(changed);
  again(Duration::zero());
}

void KubernetesMemberSource::again(Duration wait) {
  state_ = State::waiting;
  request_.reset();
  reading_.reset();
  body_.reset();
  sieve_.reset();
  next_ = parts_.loop.after(wait, "Kubernetes nodes", [this] { begin(); });
}

// The token is read for every request: whoever renews it need not tell anybody.
void KubernetesMemberSource::begin() {
  began_ = parts_.loop.now();
  if (settings_.token_file.empty()) return ask(settings_.token);
  token_ = parts_.workers.run<std::string>(
      "token of Kubernetes", [path = settings_.token_file] { return read_guarded(path, kMostToken); },
      [this](Result<std::string> token) { ask(std::move(token)); });
}

std::string KubernetesMemberSource::target() const {
  std::string target = settings_.path + "/api/v1/nodes?";
  if (version_.empty()) {
    target += fmt::format("limit={}", kPage);
    // From the server's cache, which 1000 nodes that start together do not hurt.
    if (page_.empty() && !is_fresh_) target += "&resourceVersion=0";
    if (!page_.empty()) target += "&continue=" + registry::percent_encode(page_);
  } else {
    target += fmt::format("watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
                          kWatchSeconds, registry::percent_encode(version_));
  }
  if (!settings_.site_label.empty())
    target += "&labelSelector=" + registry::percent_encode(settings_.site_label + "=" + site_);
  return target;
}

void KubernetesMemberSource::ask(Result<std::string> token) {
  token_.reset();
  if (!token) return fail_for_file(std::move(token).error());
  state_ = version_.empty() ? State::listing : State::watching;
  const TimePoint now = parts_.loop.now();
  http::ClientRequest request;
  request.where.host = settings_.host;
  request.where.port = settings_.port;
  request.where.tls = settings_.is_tls;
  request.where.tls_settings = settings_.tls;
  request.where.policy = net::AddressPolicy::any;
  request.where.deadline = Deadline::in(now, kConnect);
  request.head.method = "GET";
  request.head.target = target();
  request.head.headers.add("Accept", "application/json");
  request.head.headers.add("User-Agent", "layerd");
  if (const auto bearer = registry::trim_all(*token); !bearer.empty())
    request.head.headers.add("Authorization", "Bearer " + std::string(bearer));
  request.head_deadline = Deadline::in(now, kHead);
  request.stall = state_ == State::watching ? std::chrono::seconds(kWatchSeconds) + kStall : kStall;
  sieve_ = std::make_unique<JsonSieve>(wanted_of_nodes(settings_));
  is_page_whole_ = false;
  request_ = parts_.client.start(
      std::move(request), [this](Result<http::ClientResponse> response) { on_head(std::move(response)); });
}

void KubernetesMemberSource::on_head(Result<http::ClientResponse> response) {
  request_.reset();
  if (!response) {
    const std::string_view why = response.error().diagnosis;
    const bool is_file = why == "tls_ca_file" || why == "tls_client_certificate";
    return is_file ? fail_for_file(std::move(response).error()) : fail(std::move(response).error());
  }
  status_ = response->head.status;
  body_ = std::move(response->body);
  refusal_.clear();
  retry_after_ = retry_after_of(response->head.headers);
  read();
}

void KubernetesMemberSource::read() {
  reading_ = body_->read(64_KiB, [this](Result<Bytes> bytes) {
    status_ == 200 ? on_bytes(std::move(bytes)) : on_refusal_bytes(std::move(bytes));
  });
}

// The server says why in a Status; another one's page says nothing that helps.
void KubernetesMemberSource::on_refusal_bytes(Result<Bytes> bytes) {
  if (bytes && !bytes->empty() && refusal_.size() + bytes->size() <= kMostRefusal) {
    refusal_ += bytes->view();
    return read();
  }
  if (status_ == 410) return expired();
  const auto said = parse_list_end(refusal_);
  const std::string words = said && !said->message.empty() ? ": " + said->message : "";
  fail({Errc::upstream_status, fmt::format("it answers {}{}{}", status_, words, remedy_of(status_)), 0,
        status_},
       retry_after_);
}

void KubernetesMemberSource::on_bytes(Result<Bytes> bytes) {
  if (!bytes) return fail(std::move(bytes).error());
  if (bytes->empty()) return on_end();
  auto fed = sieve_->feed(bytes->view(), [this](const JsonSieve::Piece& piece) { on_piece(piece); });
  if (std::exchange(is_other_, false) && count_members()) changed_();
  if (std::exchange(has_expired_, false)) return expired();
  if (auto broken = std::exchange(broken_, std::nullopt)) return fail(std::move(*broken));
  if (!fed) return fail(std::move(fed).error());
  read();
}

void KubernetesMemberSource::on_piece(const JsonSieve::Piece& piece) {
  if (has_expired_ || broken_) return;
  if (state_ == State::watching) return on_event(piece);
  piece.is_item ? on_listed_node(piece) : on_list_end(piece);
}

void KubernetesMemberSource::on_listed_node(const JsonSieve::Piece& piece) {
  auto node = piece.is_whole ? parse_node(piece.text, settings_, site_)
                             : Result<NodeFacts>(Errc::upstream_protocol, "too large");
  if (!node) {
    ++too_large_;
    return;
  }
  if (listed_.size() < kMostMembers) listed_[node->name] = std::move(*node);
}

void KubernetesMemberSource::on_list_end(const JsonSieve::Piece& piece) {
  auto end = piece.is_whole ? parse_list_end(piece.text)
                            : Result<ListFacts>(Errc::upstream_protocol, "its list has no end");
  if (!end || (end->resource_version.empty() && end->more.empty())) {
    broken_ = Error{Errc::upstream_protocol, "what it answers is no list of nodes"};
    return;
  }
  page_ = std::move(end->more);
  page_end_ = std::move(end->resource_version);
  is_page_whole_ = true;
}

void KubernetesMemberSource::on_event(const JsonSieve::Piece& piece) {
  if (!piece.is_whole) {
    ++too_large_;
    return;
  }
  auto event = parse_node_event(piece.text, settings_, site_);
  if (!event) {
    broken_ = std::move(event).error();
    return;
  }
  works();
  if (event->kind != NodeEvent::Kind::error) return apply(std::move(*event));
  if (event->status.code == 410)
    has_expired_ = true;
  else
    broken_ = Error{Errc::upstream_status, "the watch ended: " + event->status.message};
}

void KubernetesMemberSource::apply(NodeEvent event) {
  if (!event.resource_version.empty()) version_ = event.resource_version;
  if (event.kind == NodeEvent::Kind::bookmark) return;
  const auto known = nodes_.find(event.node.name);
  if (event.kind == NodeEvent::Kind::deleted) {
    if (known == nodes_.end()) return;
    nodes_.erase(known);
  } else if (known != nodes_.end()) {
    if (known->second == event.node) return;
    known->second = std::move(event.node);
  } else if (nodes_.size() < kMostMembers) {
    nodes_.emplace(event.node.name, event.node);
  }
  is_other_ = true;
}

void KubernetesMemberSource::on_end() {
  if (state_ == State::listing) {
    if (!is_page_whole_) return fail({Errc::truncated, "its list broke off"});
    if (!page_.empty()) return again(Duration::zero());
    return take_list();
  }
  if (!sieve_->is_between()) return fail({Errc::truncated, "the watch broke off"});
  if (parts_.loop.now() - began_ < kShortWatch)
    return again(backoff_.next());  // it ends watches at once: not a failure yet, and no reason to hurry
  works();
  again(Duration::zero());
}

void KubernetesMemberSource::take_list() {
  nodes_ = std::exchange(listed_, {});
  version_ = std::exchange(page_end_, {});
  has_listed_ = true;
  is_fresh_ = false;
  count_members();
  works();
  again(Duration::zero());
  changed_();
}

void KubernetesMemberSource::works() {
  failure_.clear();
  backoff_.reset();
}

// What we know is too old to go on from: everything again.
void KubernetesMemberSource::expired() {
  version_.clear();
  page_.clear();
  listed_.clear();
  is_fresh_ = true;
  again(backoff_.next());
}

void KubernetesMemberSource::fail(Error error, Duration at_least) {
  note_failure(std::move(error), std::max(backoff_.next(), at_least));
}

void KubernetesMemberSource::fail_for_file(Error error) { note_failure(std::move(error), kFileAgain); }

void KubernetesMemberSource::note_failure(Error error, Duration wait) {
  const std::string before =
      std::exchange(failure_, fmt::format("{}: {}{}", settings_.server(), error.message,
                                          members_.empty() ? "" : "; the nodes it named last count"));
  page_.clear();
  listed_.clear();
  again(wait);
  if (before != failure_) changed_();
}

// True if the members are others.
bool KubernetesMemberSource::count_members() {
  const auto counts = [](const NodeFacts& node) { return node.is_of_site && !node.address.empty(); };
  std::size_t all = 0, ready = 0;
  for (const auto& [name, node] : nodes_) {
    if (!counts(node)) continue;
    ++all;
    ready += node.is_ready ? 1 : 0;
  }
  const bool are_ill = ready * 2 < all;
  complain_of_nodes(all, ready);
  std::vector<Member> members;
  for (const auto& [name, node] : nodes_) {
    if (!counts(node) || !(node.is_ready || are_ill)) continue;
    if (auto address = net::parse_address(node.address, settings_.member_port))
      members.push_back(member_at(std::move(*address), node.zone, name));
  }
  if (members == members_) return false;
  members_ = std::move(members);
  return true;
}

void KubernetesMemberSource::complain_of_nodes(std::size_t all, std::size_t ready) {
  node_complaints_.clear();
  std::size_t homeless = 0;
  std::string names;
  for (const auto& [name, node] : nodes_)
    if (node.is_of_site && node.address.empty() && ++homeless <= kMostNamed)
      names += (names.empty() ? "" : ", ") + name;
  if (homeless > 0)
    node_complaints_.push_back(fmt::format("{} nodes have no InternalIP: {}{}", homeless, names,
                                           homeless > kMostNamed ? ", …" : ""));
  if (ready * 2 < all)
    node_complaints_.push_back(
        fmt::format("only {} of {} nodes are Ready; that is not believed and all of them count", ready, all));
  if (nodes_.empty())
    node_complaints_.push_back(settings_.site_label.empty()
                                   ? "the cluster has no nodes"
                                   : fmt::format("no node has the label {}={}", settings_.site_label, site_));
}

std::vector<std::string> KubernetesMemberSource::complaints() const {
  std::vector<std::string> complaints;
  if (!failure_.empty()) complaints.push_back(failure_);
  for (const std::string& complaint : node_complaints_) complaints.push_back(complaint);
  if (too_large_ > 0)
    complaints.push_back(
        fmt::format("{} descriptions of nodes were passed over: too large, or none", too_large_));
  return complaints;
}

}  // namespace layerd::peers
