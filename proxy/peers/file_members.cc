#include "proxy/peers/file_members.h"

#include "proxy/peers/member_lines.h"
#include "runtime/guarded_file.h"

namespace layerd::peers {
namespace {

constexpr Duration kTryAgain = std::chrono::seconds(2), kReadAgain = std::chrono::seconds(10);

}  // namespace

FileMembers::FileMembers(const Parts& parts, std::string path, std::uint16_t default_port, bool ipv6_first)
    : MemberSource("peers.members_file", path + ":" + std::to_string(default_port)),
      parts_(parts),
      path_(std::move(path)),
      default_port_(default_port),
      listed_(parts.loop, parts.names, ipv6_first, [this] { changed_(); }) {}

void FileMembers::start(std::vector<Member> kept, Callback<void()> changed) {
  kept_ = std::move(kept);
  changed_ = std::move(changed);
  if (parts_.watch) watch_ = parts_.watch(path_, [this] { read(); });
  read();
}

// A change while it is read: the latest reading counts, which began after the change.
void FileMembers::read() {
  again_.reset();
  reading_ = parts_.workers.run<std::string>(
      "file of members", [path = path_] { return read_guarded(path, kMostMembersFile); },
      [this](Result<std::string> text) { on_text(std::move(text)); });
}

void FileMembers::on_text(Result<std::string> text) {
  reading_.reset();
  again_ = parts_.loop.after(text ? kReadAgain : kTryAgain, "file of members", [this] { read(); });
  if (text && has_read_ && failure_.empty() && *text == text_) return;
  failure_ = text ? "" : text.error().message;
  if (text) {
    text_ = std::move(*text);
    MemberLines lines = parse_member_lines(text_, default_port_);
    wrong_lines_ = std::move(lines.complaints);
    listed_.set(std::move(lines.members), kept_);
    kept_.clear();
    has_read_ = true;
  }
  changed_();
}

std::vector<Member> FileMembers::members() const { return has_read_ ? listed_.members() : kept_; }

std::vector<std::string> FileMembers::complaints() const {
  std::vector<std::string> complaints;
  if (!failure_.empty())
    complaints.push_back(failure_ + (members().empty() ? "" : "; the members it had count"));
  for (const std::string& line : wrong_lines_) complaints.push_back(path_ + " " + line);
  for (std::string& one : listed_.complaints()) complaints.push_back(std::move(one));
  return complaints;
}

}  // namespace layerd::peers
