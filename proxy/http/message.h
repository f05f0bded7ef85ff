// HTTP/1.1 messages as plain values (RFC 9110, 9112).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bytes.h"

namespace layerd::http {

struct Header {
  std::string name;
  std::string value;
};

// In order of arrival; names compare without regard to case.
class Headers {
 public:
  void add(std::string name, std::string value) { all_.push_back({std::move(name), std::move(value)}); }
  void set(std::string_view name, std::string value);  // replaces all of that name
  void remove(std::string_view name);
  // The first value; nothing if absent.
  std::optional<std::string_view> get(std::string_view name) const;
  std::vector<std::string_view> get_all(std::string_view name) const;
  bool has(std::string_view name) const { return get(name).has_value(); }
  // True if a comma-separated list of that name contains `token` (case-insensitive).
  bool has_token(std::string_view name, std::string_view token) const;
  const std::vector<Header>& all() const { return all_; }
  std::vector<Header>& all() { return all_; }

 private:
  std::vector<Header> all_;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

struct RequestHead {
  std::string method;  // "GET"
  std::string target;  // as on the wire: origin-form or absolute-form
  Headers headers;
  int version_minor = 1;
};

struct ResponseHead {
  int status = 200;
  std::string reason;  // empty: the standard phrase
  Headers headers;
};

// The standard reason phrase of a status, "Unknown" if there is none.
std::string_view reason_of(int status);

}  // namespace layerd::http
