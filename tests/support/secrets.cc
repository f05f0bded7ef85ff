#include "tests/support/secrets.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/hashes.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace fs = std::filesystem;
namespace {

constexpr std::uintmax_t kMostBytes = 64 << 10;

std::string without_space(std::string text) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), is_space).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
  return text;
}

void add(std::set<std::string>& secrets, const std::string& value) {
  const bool is_word =
      std::all_of(value.begin(), value.end(), [](unsigned char c) { return std::isalpha(c) != 0; });
  if (value.size() >= 6 && !is_word) secrets.insert(value);
}

// The password in `auth`, which is base64 of user:password.
void add_decoded(std::set<std::string>& secrets, const std::string& value) {
  const std::string both = unbase64(value);
  const auto is_text =
      std::all_of(both.begin(), both.end(), [](unsigned char c) { return std::isprint(c) != 0; });
  const auto colon = both.find(':');
  if (is_text && colon != std::string::npos) add(secrets, both.substr(colon + 1));
}

void add_users(std::set<std::string>& users, const std::string& text) {
  static const std::regex kUser(R"re(["']?username["']?\s*:\s*["']?([^\s"',{}]+))re");
  for (std::sregex_iterator at(text.begin(), text.end(), kUser), end; at != end; ++at)
    users.insert((*at)[1].str());
}

std::string percent_encoded(const std::string& text) {
  std::ostringstream out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0 || std::string_view("-._~").find(static_cast<char>(c)) != std::string_view::npos)
      out << c;
    else
      out << '%' << std::uppercase << std::hex << (c < 16 ? "0" : "") << int{c};
  }
  return out.str();
}

// As they travel: in `Authorization: Basic` and in forms.
void add_as_sent(std::set<std::string>& secrets, const std::set<std::string>& users) {
  for (const auto& secret : std::set<std::string>(secrets)) {
    add(secrets, percent_encoded(secret));
    for (const auto& user : users) add(secrets, base64(user + ":" + secret));
  }
}

void add_values(std::set<std::string>& secrets, const std::string& text) {
  static const std::regex kValue(
      R"re(["']?(?:password|identity_?token|registry_?token|token|auth|secret)["']?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s,{}\["']+)))re",
      std::regex::icase);
  for (std::sregex_iterator at(text.begin(), text.end(), kValue), end; at != end; ++at) {
    const std::string value = (*at)[1].str() + (*at)[2].str() + (*at)[3].str();
    add(secrets, value);
    add_decoded(secrets, value);
  }
}

}  // namespace

std::vector<std::string> secrets_of(const std::string& config_file) {
  static const std::regex kPath(R"re(((?:password|secret)_file["']?\s*:\s*)?["']?(/[^\s"',{}\[\]]+))re");
  std::set<std::string> secrets, users;
  const std::string text = read_text(config_file);
  add_values(secrets, text);
  add_users(users, text);
  for (std::sregex_iterator at(text.begin(), text.end(), kPath), end; at != end; ++at) {
    const fs::path path = (*at)[2].str();
    std::error_code failed;
    if (!fs::is_regular_file(path, failed) || fs::file_size(path, failed) > kMostBytes) continue;
    const std::string content = read_text(path);
    if (!(*at)[1].matched) {
      add_values(secrets, content);
      add_users(users, content);
      continue;
    }
    add(secrets, without_space(content));
    // Of a site there may be two, a line each; what is shorter is none, and messages may quote it.
    std::istringstream lines(content);
    for (std::string line; (*at)[1].str().starts_with("secret") && std::getline(lines, line);)
      if (without_space(line).size() >= 40) add(secrets, without_space(line));
  }
  add_as_sent(secrets, users);
  return {secrets.begin(), secrets.end()};
}

}  // namespace layerd::test
