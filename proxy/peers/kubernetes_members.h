// KubernetesMemberSource: the nodes of a cluster as members: one list, then a watch that is kept open and
// goes on where it broke off. While the API server is away the nodes it named last count, for however long.
// Loop thread.
//
// A node counts with its first InternalIP while it is Ready; when fewer than half of the nodes are Ready,
// that is not looked at, since rather the control plane is ill than all of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/peers/json_sieve.h"
#include "proxy/peers/kubernetes_nodes.h"
#include "proxy/peers/member_source.h"
#include "runtime/backoff.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::peers {

class KubernetesMemberSource final : public MemberSource {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;  // reads the token's file
    http::Client& client;
  };
  KubernetesMemberSource(const Parts& parts, KubernetesMembers settings, std::string site);
  void start(std::vector<Member> kept, Callback<void()> changed) override;
  std::vector<Member> members() const override { return members_; }
  std::vector<std::string> complaints() const override;
  bool has_answered() const override { return has_listed_; }

 private:
  enum class State {
    waiting,   // for the next try
    listing,   // pages of all nodes come in; nodes_ is that of before
    watching,  // changes come in, behind version_
  };
  void begin();
  void ask(Result<std::string> token);
  std::string target() const;
  void on_head(Result<http::ClientResponse> response);
  void read();
  void on_bytes(Result<Bytes> bytes);
  void on_refusal_bytes(Result<Bytes> bytes);
  void on_piece(const JsonSieve::Piece& piece);
  void on_listed_node(const JsonSieve::Piece& piece);
  void on_list_end(const JsonSieve::Piece& piece);
  void on_event(const JsonSieve::Piece& piece);
  void on_end();
  void take_list();
  void apply(NodeEvent event);
  bool count_members();
  void complain_of_nodes(std::size_t all, std::size_t ready);
  void works();
  void again(Duration wait);
  void fail(Error error, Duration at_least = Duration::zero());
  void fail_for_file(Error error);
  void note_failure(Error error, Duration wait);
  void expired();

  const Parts parts_;
  const KubernetesMembers settings_;
  const std::string site_;
  Callback<void()> changed_;

  State state_ = State::waiting;
  std::map<std::string, NodeFacts> nodes_, listed_;  // by name
  std::vector<Member> members_;
  bool has_listed_ = false;
  std::string version_;    // of nodes_; empty: a list is due
  std::string page_;       // the token of the page that is read; empty: the first
  std::string page_end_;   // the version that came with it
  bool is_fresh_ = false;  // the next list must not come of the server's cache
  bool is_page_whole_ = false;

  std::string failure_;
  std::vector<std::string> node_complaints_;
  std::size_t too_large_ = 0;

  // Of the request under way.
  std::unique_ptr<JsonSieve> sieve_;
  std::unique_ptr<http::BodyReader> body_;
  int status_ = 0;
  Duration retry_after_{};
  std::string refusal_;
  std::optional<Error> broken_;  // found while a chunk was read
  bool has_expired_ = false;
  bool is_other_ = false;  // members_ changed within the chunk
  TimePoint began_{};
  Ticket token_, request_, reading_, next_;
  Backoff backoff_{std::chrono::seconds(1), std::chrono::seconds(60)};
};

}  // namespace layerd::peers
