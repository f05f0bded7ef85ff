#include "daemon/config_yaml.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "runtime/log.h"

namespace layerd::daemon {

std::string Problem::str() const {
  if (line == 0) return file.empty() ? message : file + ": " + message;
  return fmt::format("{}:{}:{}: {}", file, line, column, message);
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (name.scalar == key) return &value;
  return nullptr;
}

namespace {

// Ends the parse when a bound is passed; never leaves this file.
struct TooMuch {
  YAML::Mark mark;
  std::string message;
};

std::size_t count_nodes(const YamlNode& node) {
  std::size_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  for (const auto& [key, value] : node.entries) count += 1 + count_nodes(value);
  return count;
}

int depth_of(const YamlNode& node) {
  int depth = 0;
  for (const YamlNode& item : node.items) depth = std::max(depth, depth_of(item));
  for (const auto& [key, value] : node.entries) depth = std::max(depth, depth_of(value));
  return depth + 1;
}

// Builds the tree from the parser's events. `open_` holds the collections not yet closed.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& file, std::vector<Problem>& errors) : file_(file), errors_(errors) {}
  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(node_at(mark, YamlNode::Kind::null), anchor, mark);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = node_at(mark, YamlNode::Kind::scalar);
    node.scalar = value;
    node.quoted = tag == "!";
    if (!node.quoted &&
        (value.empty() || value == "~" || value == "null" || value == "Null" || value == "NULL"))
      node.kind = YamlNode::Kind::null;
    add(std::move(node), anchor, mark);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw TooMuch{mark, "an alias (*) stands inside the anchor (&) it names"};
    if (open_.size() + static_cast<std::size_t>(depth_of(found->second)) > kMostYamlDepth)
      throw too_deep(mark);
    count(count_nodes(found->second), mark);
    add(found->second, YAML::NullAnchor, mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(node_at(mark, YamlNode::Kind::list), anchor, mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(node_at(mark, YamlNode::Kind::map), anchor, mark);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    YAML::Mark mark;
    std::optional<YamlNode> key;  // of a map: its value comes next
    bool drop_value = false;      // the key was refused
    std::set<std::string> keys;
  };

  static YamlNode node_at(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  static TooMuch too_deep(const YAML::Mark& mark) {
    return {mark, fmt::format("nested deeper than {} levels", kMostYamlDepth)};
  }

  void count(std::size_t more, const YAML::Mark& mark) {
    nodes_ += more;
    if (nodes_ > kMostYamlNodes)
      throw TooMuch{mark, fmt::format("more than {} values, aliases written out", kMostYamlNodes)};
  }

  void complain(const YamlNode& node, std::string message) {
    errors_.push_back({file_, node.line, node.column, std::move(message)});
  }

  void open(YamlNode node, YAML::anchor_t anchor, const YAML::Mark& mark) {
    count(1, mark);
    if (open_.size() >= kMostYamlDepth) throw too_deep(mark);
    open_.push_back({std::move(node), anchor, mark, std::nullopt, false, {}});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor, done.mark);
  }

  void add(YamlNode node, YAML::anchor_t anchor, const YAML::Mark& mark) {
    count(1, mark);
    if (anchor != YAML::NullAnchor) {
      count(count_nodes(node), mark);
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list)
      parent.node.items.push_back(std::move(node));
    else if (!parent.key)
      add_key(parent, std::move(node));
    else
      add_value(parent, std::move(node));
  }

  void add_key(Open& parent, YamlNode key) {
    parent.drop_value = true;
    if (key.kind != YamlNode::Kind::scalar)
      complain(key, "a key must be a plain text");
    else if (key.scalar == "<<" && !key.quoted)
      complain(key, "a merge (<<) is not supported: write the keys out");
    else if (!parent.keys.insert(key.scalar).second)
      complain(key, fmt::format("the key \"{}\" is there twice, first in line {}", printable(key.scalar, 80),
                                first_line(parent, key.scalar)));
    else
      parent.drop_value = false;
    parent.key = std::move(key);
  }

  static int first_line(const Open& parent, const std::string& key) {
    for (const auto& [name, value] : parent.node.entries)
      if (name.scalar == key) return name.line;
    return 0;
  }

  static void add_value(Open& parent, YamlNode value) {
    if (!parent.drop_value) parent.node.entries.push_back({std::move(*parent.key), std::move(value)});
    parent.key.reset();
  }

  const std::string& file_;
  std::vector<Problem>& errors_;
  YamlNode root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  std::size_t nodes_ = 0;
};

}  // namespace

YamlNode parse_yaml(const std::string& file, const std::string& text, std::vector<Problem>& errors) {
  if (text.size() > kMostConfigBytes) {
    errors.push_back(
        {file, 0, 0, fmt::format("the file has {} bytes, {} are possible", text.size(), kMostConfigBytes)});
    return {};
  }
  if (const auto zero = text.find('\0'); zero != std::string::npos) {
    errors.push_back({file, 0, 0, fmt::format("the file is no text: byte {} is zero", zero)});
    return {};
  }
  TreeBuilder builder(file, errors);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return {};
    YamlNode root = builder.take();
    std::vector<Problem> ignored;
    TreeBuilder second(file, ignored);
    if (parser.HandleNextDocument(second))
      errors.push_back({file, 0, 0, "the file holds a second document (---), one is possible"});
    return root;
  } catch (const TooMuch& bound) {
    errors.push_back({file, bound.mark.line + 1, bound.mark.column + 1, bound.message});
  } catch (const YAML::Exception& failure) {
    errors.push_back(
        {file, failure.mark.line + 1, failure.mark.column + 1, "this is not YAML: " + failure.msg});
  } catch (const std::exception& failure) {
    errors.push_back({file, 0, 0, std::string("this cannot be read as YAML: ") + failure.what()});
  }
  return {};
}

std::string yaml_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

}  // namespace layerd::daemon
