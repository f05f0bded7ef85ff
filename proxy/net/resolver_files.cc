#include "proxy/net/resolver_files.h"

#include <algorithm>
#include <charconv>

#include "proxy/net/address.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostServers = 8, kMostSearch = 16, kMostPerName = 64;
constexpr std::string_view kBlanks = " \t\r\v\f";

// Takes one line off the front, without its comment.
std::string_view next_line(std::string_view& text, std::string_view comment_marks) {
  const auto end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return line.substr(0, line.find_first_of(comment_marks));
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = line.find_first_not_of(kBlanks, at)) != std::string_view::npos;) {
    const auto end = std::min(line.find_first_of(kBlanks, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

void read_options(const std::vector<std::string_view>& words, ResolvConf& conf) {
  for (const std::string_view word : words) {
    if (word.substr(0, 6) != "ndots:") continue;
    int value = 0;
    const auto [end, error] = std::from_chars(word.data() + 6, word.data() + word.size(), value);
    if (error == std::errc() && end == word.data() + word.size()) conf.ndots = std::clamp(value, 0, 15);
  }
}

}  // namespace

std::string canonical_name(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::string out(name);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    const auto words = words_of(next_line(text, "#;"));
    if (words.size() < 2) continue;
    if (words[0] == "nameserver" && conf.servers.size() < kMostServers) {
      const auto server = parse_host_port(words[1], 53);
      const auto address = server ? parse_address(server->host, server->port) : std::nullopt;
      if (address) conf.servers.push_back(address->str());
    } else if (words[0] == "search" || words[0] == "domain") {  // the last one counts
      conf.search.clear();
      for (std::size_t i = 1; i < words.size() && i <= kMostSearch; ++i) {
        if (auto name = canonical_name(words[i]); !name.empty()) conf.search.push_back(std::move(name));
      }
    } else if (words[0] == "options") {
      read_options(words, conf);
    }
  }
  if (conf.servers.empty()) conf.servers.emplace_back("127.0.0.1:53");
  return conf;
}

HostsTable parse_hosts(std::string_view text) {
  HostsTable table;
  while (!text.empty()) {
    const auto words = words_of(next_line(text, "#"));
    if (words.size() < 2) continue;
    const auto address = parse_address(words[0], 0);
    if (!address) continue;
    for (std::size_t i = 1; i < words.size(); ++i) {
      auto& addresses = table[canonical_name(words[i])];
      if (addresses.size() < kMostPerName) addresses.push_back(*address);
    }
  }
  return table;
}

bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  std::size_t label = 0;
  for (const char c : name) {
    const bool is_fit = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (c == '.' ? label == 0 : !is_fit) return false;
    label = c == '.' ? 0 : label + 1;
    if (label > 63) return false;
  }
  return label > 0;
}

std::vector<std::string> candidate_names(std::string_view name, const ResolvConf& conf) {
  const std::string plain = canonical_name(name);
  if (!name.empty() && name.back() == '.') return {plain};
  const auto dots = std::count(plain.begin(), plain.end(), '.');
  std::vector<std::string> names;
  if (dots >= conf.ndots) names.push_back(plain);
  for (const std::string& domain : conf.search) names.push_back(plain + "." + domain);
  if (dots < conf.ndots) names.push_back(plain);
  return names;
}

}  // namespace layerd::net
