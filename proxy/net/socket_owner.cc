#include "proxy/net/socket_owner.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "proxy/net/address.h"

namespace layerd::net {
namespace {

// linux/inet_diag.h of kernel 5.8 and later; Debian 12 has it, older headers may not.
constexpr unsigned kCgroupIdAttribute = 21;

struct Question {
  nlmsghdr head;
  inet_diag_req_v2 body;
};

struct Ends {
  int family = AF_INET;
  std::array<std::uint8_t, 16> client{}, server{};
};

bool take(const Address& address, int& family, std::array<std::uint8_t, 16>& out) {
  std::string_view host = address.host;
  if (host.starts_with("::ffff:") && host.find('.') != std::string_view::npos) host.remove_prefix(7);
  const std::string text(host);
  family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  return inet_pton(family, text.c_str(), out.data()) == 1;
}

std::optional<Ends> ends_of(const Address& peer, const Address& local) {
  Ends ends;
  int other = 0;
  if (!take(peer, ends.family, ends.client) || !take(local, other, ends.server) || other != ends.family)
    return std::nullopt;
  return ends;
}

Question question_for(const Ends& ends, const Address& peer, const Address& local, std::uint32_t sequence) {
  Question question{};
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  question.head.nlmsg_seq = sequence;
  auto& body = question.body;
  body.sdiag_family = static_cast<std::uint8_t>(ends.family);
  body.sdiag_protocol = IPPROTO_TCP;
  body.idiag_states = ~0u;
  body.id.idiag_sport = htons(peer.port);
  body.id.idiag_dport = htons(local.port);
  std::memcpy(body.id.idiag_src, ends.client.data(), sizeof body.id.idiag_src);
  std::memcpy(body.id.idiag_dst, ends.server.data(), sizeof body.id.idiag_dst);
  body.id.idiag_cookie[0] = body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

// The kernel answers with a listening socket when there is no connected one, and calls root the owner of
// one that nobody holds any more: neither is the client.
bool is_held_connection(const inet_diag_msg& said, const inet_diag_req_v2& asked) {
  const bool is_connected = said.idiag_state == TCP_ESTABLISHED || said.idiag_state == TCP_FIN_WAIT1 ||
                            said.idiag_state == TCP_FIN_WAIT2 || said.idiag_state == TCP_CLOSE_WAIT;
  return is_connected && said.idiag_inode != 0 && said.id.idiag_sport == asked.id.idiag_sport &&
         said.id.idiag_dport == asked.id.idiag_dport;
}

SocketOwner read_owner(const char* message, std::size_t size) {
  inet_diag_msg said{};
  std::memcpy(&said, message, sizeof said);
  SocketOwner owner{said.idiag_uid, 0};
  for (std::size_t at = NLMSG_ALIGN(sizeof said); at + sizeof(nlattr) <= size;) {
    nlattr attribute{};
    std::memcpy(&attribute, message + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > size) break;
    if (attribute.nla_type == kCgroupIdAttribute &&
        attribute.nla_len == sizeof attribute + sizeof owner.cgroup)
      std::memcpy(&owner.cgroup, message + at + sizeof attribute, sizeof owner.cgroup);
    at += NLA_ALIGN(attribute.nla_len);
  }
  return owner;
}

}  // namespace

KernelSocketOwners::KernelSocketOwners()
    : netlink_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG)) {}

std::optional<SocketOwner> KernelSocketOwners::find(const Address& peer, const Address& local) {
  const auto ends = ends_of(peer, local);
  if (!ends || !works()) return std::nullopt;
  const Question question = question_for(*ends, peer, local, ++sequence_);
  if (::send(netlink_.get(), &question, sizeof question, 0) != sizeof question) return std::nullopt;
  // The answer is there when send() has returned; what an earlier question left is passed over.
  std::array<char, 8192> buffer;
  for (int tries = 0; tries < 16; ++tries) {
    const auto got = ::recv(netlink_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < static_cast<ssize_t>(sizeof(nlmsghdr))) return std::nullopt;
    nlmsghdr head{};
    std::memcpy(&head, buffer.data(), sizeof head);
    if (head.nlmsg_seq != sequence_) continue;
    const auto size = std::min<std::size_t>(static_cast<std::size_t>(got), head.nlmsg_len);
    if (head.nlmsg_type != SOCK_DIAG_BY_FAMILY || size < NLMSG_HDRLEN + sizeof(inet_diag_msg))
      return std::nullopt;
    inet_diag_msg said{};
    std::memcpy(&said, buffer.data() + NLMSG_HDRLEN, sizeof said);
    if (!is_held_connection(said, question.body)) return std::nullopt;
    return read_owner(buffer.data() + NLMSG_HDRLEN, size - NLMSG_HDRLEN);
  }
  return std::nullopt;
}

}  // namespace layerd::net
