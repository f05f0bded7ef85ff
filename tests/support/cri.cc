#include "tests/support/cri.h"

#include <cstdlib>
#include <sstream>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

std::string varint(std::size_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7) out += static_cast<char>((number & 0x7f) | 0x80);
  return out + static_cast<char>(number);
}

// A field of protobuf with a length: a text or a message.
std::string field(int number, const std::string& content) {
  if (content.empty()) return {};
  return varint(static_cast<std::size_t>(number) << 3 | 2) + varint(content.size()) + content;
}

std::string text_of(const std::string& message, int number) {
  for (std::size_t at = 0; at + 1 < message.size();) {
    const int found = static_cast<unsigned char>(message[at++]) >> 3;
    std::size_t size = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[at++]);
      size |= static_cast<std::size_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (found == number) return message.substr(at, size);
    at += size;
  }
  return {};
}

std::string header_of(const std::string& head, const std::string& name) {
  std::istringstream lines(head);
  std::string found;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ": "))
      found = line.substr(name.size() + 2, line.find('\r') - name.size() - 2);
  return found;
}

}  // namespace

CriAnswer cri_pull(const std::string& socket, const std::string& image, const PullSecret& secret) {
  const std::string auth =
      field(1, secret.username) + field(2, secret.password) + field(5, secret.identity_token);
  const std::string message = field(1, field(1, image)) + field(2, auth);
  std::string frame(5, '\0');  // not compressed, and the length in four bytes
  for (int i = 0; i < 4; ++i) frame[4 - i] = static_cast<char>(message.size() >> (8 * i));
  TempDir dir("layerd-cri");
  write_text(dir / "request", frame + message);
  write_text(dir / "answer", "");
  run({"curl", "-sS", "--http2-prior-knowledge", "--unix-socket", socket, "-H",
       "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@" + dir / "request", "-D",
       dir / "head", "-o", dir / "answer", "http://localhost/runtime.v1.ImageService/PullImage"},
      std::chrono::seconds(120));
  const std::string head = read_text(dir / "head"), status = header_of(head, "grpc-status");
  CriAnswer answer;
  if (!status.empty()) answer.status = std::atoi(status.c_str());
  answer.message = header_of(head, "grpc-message");
  if (const auto body = read_text(dir / "answer"); body.size() > 5) answer.image = text_of(body.substr(5), 1);
  return answer;
}

}  // namespace layerd::test
