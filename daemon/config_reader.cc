#include "daemon/config_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "runtime/guarded_file.h"
#include "runtime/log.h"

namespace layerd::daemon {

namespace {

constexpr std::size_t kMostSecretBytes = 64u << 10;

std::string_view word_of(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::scalar:
      return "a single value";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      break;
  }
  return "keys with values";
}

bool others_can_read(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode) && (info.st_mode & (S_IROTH | S_IWOTH)) != 0;
}

}  // namespace

void ConfigReader::error(const YamlNode& at, std::string message) {
  errors_.push_back({file_, at.line, at.column, std::move(message)});
}
void ConfigReader::warn(const YamlNode& at, std::string message) {
  warnings_.push_back({file_, at.line, at.column, std::move(message)});
}
void ConfigReader::file_problem(const YamlNode& at, std::string message) {
  (check_files_ ? errors_ : warnings_).push_back({file_, at.line, at.column, std::move(message)});
}

std::optional<std::string> ConfigReader::text(const YamlNode& node, std::string_view key) {
  if (node.kind == YamlNode::Kind::scalar) return node.scalar;
  error(node, fmt::format("{}: a single value was expected, this is {}", key, word_of(node.kind)));
  return std::nullopt;
}

std::optional<std::vector<std::pair<std::string, const YamlNode*>>> ConfigReader::texts(const YamlNode& node,
                                                                                        std::string_view key,
                                                                                        bool one_is_enough) {
  std::vector<std::pair<std::string, const YamlNode*>> found;
  if (node.kind == YamlNode::Kind::scalar && one_is_enough) {
    found.emplace_back(node.scalar, &node);
    return found;
  }
  if (node.kind != YamlNode::Kind::list) {
    error(node, fmt::format("{}: a list was expected, as [\"…\"], this is {}", key, word_of(node.kind)));
    return std::nullopt;
  }
  for (const YamlNode& item : node.items) {
    auto words = text(item, key);
    if (!words) return std::nullopt;
    found.emplace_back(std::move(*words), &item);
  }
  return found;
}

std::optional<std::string> ConfigReader::path(const YamlNode& node, std::string_view key) {
  auto name = text(node, key);
  if (!name || name->empty() || name->front() == '/') return name;
  error(node,
        fmt::format("{}: \"{}\" must be an absolute path, beginning with /", key, printable(*name, 120)));
  return std::nullopt;
}

std::optional<std::string> ConfigReader::readable_file(const YamlNode& node, std::string_view key,
                                                       bool secret) {
  auto name = path(node, key);
  if (!name || name->empty()) return name;
  auto file = open_guarded(*name);
  struct stat info {};
  if (!file) {
    file_problem(node, fmt::format("{}: {}", key, file.error().message));
  } else if (::fstat((*file)->fd(), &info) == 0 && S_ISDIR(info.st_mode)) {
    file_problem(node, fmt::format("{}: {} is a folder, a file was expected", key, *name));
  } else if (secret && others_can_read((*file)->fd())) {
    warn_of_readers(node, key, *name);
  }
  return name;
}

std::optional<std::string> ConfigReader::named_file(const YamlNode& node, std::string_view key, bool secret) {
  auto name = path(node, key);
  if (!secret || !name || name->empty()) return name;
  if (auto file = open_guarded(*name); file && others_can_read((*file)->fd()))
    warn_of_readers(node, key, *name);
  return name;
}

void ConfigReader::warn_of_readers(const YamlNode& at, std::string_view key, const std::string& path) {
  warn(at, fmt::format("{}: every user can read {}; take that away with chmod o= {}", key, path, path));
}

std::optional<std::string> ConfigReader::secret_of(const YamlNode& node, std::string_view key) {
  const auto before = errors_.size() + warnings_.size();
  auto name = readable_file(node, key, true);
  if (!name || name->empty()) return std::nullopt;
  auto content = read_guarded(*name, kMostSecretBytes);
  if (!content) {
    if (before == errors_.size() + warnings_.size())
      file_problem(node, fmt::format("{}: {}", key, content.error().message));
    return std::nullopt;
  }
  while (!content->empty() && (content->back() == '\n' || content->back() == '\r')) content->pop_back();
  if (content->empty()) {
    file_problem(node, fmt::format("{}: {} is empty", key, *name));
    return std::nullopt;
  }
  // A key in JSON has many lines, a password has one.
  if (content->find('\n') != std::string::npos && content->front() != '{')
    warn(node, fmt::format("{}: {} has several lines and all of them are the password", key, *name));
  return std::move(*content);
}

std::string suggestion(std::string_view wrong, const std::vector<std::string>& valid) {
  std::string nearest;
  // "token" for "identity_token": one word of the right key.
  for (const std::string& word : valid)
    if (nearest.empty() && wrong.size() >= 4 && word.find(wrong) != std::string::npos) nearest = word;
  if (nearest.empty()) nearest = nearest_word(wrong, valid);
  if (!nearest.empty()) return "did you mean \"" + nearest + "\"?";
  std::string all;
  for (const std::string& word : valid) all += (all.empty() ? "" : ", ") + word;
  return "possible here: " + all;
}

}  // namespace layerd::daemon
