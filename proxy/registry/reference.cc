#include "proxy/registry/reference.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

Error bad_name(std::string message) {
  return {Errc::invalid_request, std::move(message), 0, 0, "NAME_INVALID", {}};
}
Error bad_digest(std::string message) {
  return {Errc::invalid_request, std::move(message), 0, 0, "DIGEST_INVALID", {}};
}

std::string quoted(std::string_view text) { return "\"" + printable(text, 80) + "\""; }

// [a-zA-Z0-9] with '-' only inside.
bool is_domain_label(std::string_view label) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

bool is_domain_name(std::string_view host) {
  const auto labels = split(host, '.');
  return std::all_of(labels.begin(), labels.end(), is_domain_label);
}

bool is_ipv6_text(std::string_view text) {
  return text.size() >= 2 && text.find(':') != std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_hex(c) || c == ':'; });
}

// alphanumeric(separator alphanumeric)* with separator one of . _ __ -+
bool is_path_component(std::string_view text) {
  const auto is_plain = [](char c) { return is_lower(c) || is_digit(c); };
  if (text.empty() || !is_plain(text.front()) || !is_plain(text.back())) return false;
  for (std::size_t i = 0; i < text.size();) {
    if (is_plain(text[i])) {
      ++i;
      continue;
    }
    const auto end = text.find_first_not_of(text[i], i);  // the last character is plain: always found
    const auto length = end - i;
    const bool good = text[i] == '-' || (text[i] == '.' && length == 1) || (text[i] == '_' && length <= 2);
    if (!good || !is_plain(text[end])) return false;
    i = end;
  }
  return true;
}

}  // namespace

bool has_form_of_host(std::string_view component) {
  return component.find('.') != std::string_view::npos || component.find(':') != std::string_view::npos ||
         equal_ascii_nocase(component, "localhost");
}

Result<RegistryName> parse_registry_name(std::string_view text) {
  if (text.empty() || text.size() > kMostNameBytes)
    return bad_name(
        fmt::format("the registry name has {} bytes, 1 to {} are possible", text.size(), kMostNameBytes));
  std::string_view host = text, port;
  if (text.front() == '[') {
    const auto close = text.find(']');
    if (close == std::string_view::npos || !is_ipv6_text(text.substr(1, close - 1)))
      return bad_name(quoted(text) + " is not a registry name: the address in brackets is no IPv6 address");
    host = text.substr(1, close - 1);
    port = text.substr(close + 1);
  } else {
    const auto colon = text.find(':');
    host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
    if (!is_domain_name(host))
      return bad_name(quoted(text) + " is not a registry name: host[:port] was expected");
  }
  RegistryName name{lower_case(text), lower_case(host), std::nullopt};
  if (!port.empty()) {
    const auto number = parse_digits(port.substr(1));
    if (port.front() != ':' || port.size() > 6 || !number || *number == 0 || *number > 65535)
      return bad_name(quoted(text) + " is not a registry name: the port must be a number from 1 to 65535");
    name.port = static_cast<std::uint16_t>(*number);
  }
  if (name.text == "index.docker.io" || name.text == "registry-1.docker.io")
    name.text = name.host = std::string(kDockerHub);
  return name;
}

bool is_docker_hub(std::string_view registry) {
  const auto name = parse_registry_name(registry);
  return name && name->text == kDockerHub;
}

Result<Ok> check_repository(std::string_view text) {
  if (text.empty()) return bad_name("the repository name is empty");
  if (text.size() > kMostNameBytes)
    return bad_name(
        fmt::format("the repository name has {} bytes, {} are possible", text.size(), kMostNameBytes));
  if (std::any_of(text.begin(), text.end(), is_upper))
    return bad_name("the repository name " + quoted(text) + " must be lower case");
  for (std::string_view component : split(text, '/')) {
    if (component.empty()) return bad_name("the repository name " + quoted(text) + " has an empty component");
    if (!is_path_component(component))
      return bad_name("the repository name " + quoted(text) + " is malformed at " + quoted(component));
  }
  return Ok{};
}

Result<Ok> check_tag(std::string_view text) {
  const auto is_word = [](char c) { return is_alnum(c) || c == '_'; };
  if (text.empty() || text.size() > 128)
    return bad_name(fmt::format("the tag has {} bytes, 1 to 128 are possible", text.size()));
  const bool good = is_word(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) {
                      return is_word(c) || c == '.' || c == '-';
                    });
  if (!good) return bad_name("the tag " + quoted(text) + " is malformed");
  return Ok{};
}

Result<Digest> parse_digest(std::string_view text) {
  auto digest = Digest::parse(text);
  if (digest) return digest;
  const auto algorithm = text.substr(0, text.find(':'));
  if (algorithm == "sha256" || algorithm == "sha512")
    return bad_digest(fmt::format("the digest {} is malformed: {} lower-case hex digits must follow \"{}:\"",
                                  quoted(text), algorithm == "sha256" ? 64 : 128, algorithm));
  return bad_digest("the digest " + quoted(text) +
                    " is not of an algorithm layerd can verify (sha256, sha512)");
}

std::string ImageName::str() const {
  std::string text = registry + "/" + repository;
  if (!tag.empty()) text += ":" + tag;
  if (digest) text += "@" + digest->str();
  return text;
}

std::string ImageName::reference() const {
  if (digest) return digest->str();
  return tag.empty() ? "latest" : tag;
}

namespace {
// Does the first of several components name a registry (splitDockerDomain)?
bool names_registry(std::string_view first) {
  return has_form_of_host(first) || std::any_of(first.begin(), first.end(), is_upper);
}

bool is_bare_id(std::string_view name) {
  return name.size() == 64 &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}
}  // namespace

Result<ImageName> parse_image_name(std::string_view text) {
  if (text.size() > 2 * kMostNameBytes + 300) return bad_name("the image name is too long");
  if (is_bare_id(text))
    return bad_name(quoted(text) + " is an image ID, not a name: a registry cannot be asked for it");
  ImageName image;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    auto digest = parse_digest(text.substr(at + 1));
    if (!digest) return std::move(digest).error();
    image.digest = *digest;
    text = text.substr(0, at);
  }
  const auto slash = text.find('/');
  if (slash != std::string_view::npos && names_registry(text.substr(0, slash))) {
    auto name = parse_registry_name(text.substr(0, slash));
    if (!name) return std::move(name).error();
    // registry-1.docker.io is a domain of its own here, as in docker's own normalisation. A name that
    // only its capitals mark as a registry keeps them: without them it would read as a path.
    const auto written = text.substr(0, slash);
    image.registry = has_form_of_host(written) ? name->text : std::string(written);
    if (equal_ascii_nocase(written, "registry-1.docker.io")) image.registry = "registry-1.docker.io";
    text.remove_prefix(slash + 1);
  } else {
    image.registry = std::string(kDockerHub);
  }
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    image.tag = std::string(text.substr(colon + 1));
    if (auto good = check_tag(image.tag); !good) return std::move(good).error();
    text = text.substr(0, colon);
  }
  image.repository = std::string(text);
  if (image.registry == kDockerHub && text.find('/') == std::string_view::npos && !text.empty())
    image.repository = "library/" + image.repository;
  if (auto good = check_repository(image.repository); !good) return std::move(good).error();
  return image;
}

}  // namespace layerd::registry
