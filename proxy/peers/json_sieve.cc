#include "proxy/peers/json_sieve.h"

#include <utility>

namespace layerd::peers {
namespace {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
constexpr bool ends_literal(char c) { return is_blank(c) || c == ',' || c == '}' || c == ']'; }

}  // namespace

Result<Ok> JsonSieve::feed(std::string_view bytes, const std::function<void(Piece)>& each) {
  for (const char c : bytes)
    if (!take(c, each)) return {Errc::upstream_protocol, "this is not JSON as an API server writes it"};
  return Ok{};
}

bool JsonSieve::is_value_kept() const {
  if (stack_.empty()) return true;
  const Frame& top = stack_.back();
  return top.is_kept && (!top.is_object || is_member_kept_);
}

void JsonSieve::put(char c) { put(std::string_view(&c, 1)); }

void JsonSieve::put(std::string_view text) {
  Piece& piece = is_in_item_ ? item_ : document_;
  if (!piece.is_whole) return;
  if (piece.text.size() + text.size() <= kMostPiece) {
    piece.text.append(text);
    return;
  }
  piece.is_whole = false;
  piece.text = std::string();
}

bool JsonSieve::take(char c, const std::function<void(Piece)>& each) {
  switch (state_) {
    case State::value:
      if (is_blank(c)) return true;
      if (c == ']') return close(false, each);
      return begin_value(c);
    case State::name:
      if (is_blank(c)) return true;
      if (c == '}') return close(true, each);
      name_.clear();
      state_ = State::in_name;
      return c == '"';
    case State::in_name:
      if (c == '"' && !is_escaped_) {
        end_name();
        return true;
      }
      is_escaped_ = c == '\\' && !is_escaped_;
      if (name_.size() <= kMostName) name_ += c;
      return true;
    case State::colon:
      if (is_blank(c)) return true;
      state_ = State::value;
      return c == ':';
    case State::text:
      if (is_value_kept()) put(c);
      if (c == '"' && !is_escaped_) end_value(each);
      is_escaped_ = c == '\\' && !is_escaped_;
      return true;
    case State::literal:
      if (!ends_literal(c)) {
        if (is_value_kept()) put(c);
        return true;
      }
      end_value(each);
      return take(c, each);
    case State::after:
      if (is_blank(c)) return true;
      if (c == ',') {
        state_ = stack_.back().is_object ? State::name : State::value;
        return true;
      }
      return (c == '}' || c == ']') && close(c == '}', each);
  }
  return false;
}

void JsonSieve::end_name() {
  Frame& top = stack_.back();
  is_member_kept_ = name_.size() <= kMostName && wanted_.contains(name_);
  if (stack_.size() == 1 && name_ == "items") is_member_kept_ = true;
  state_ = State::colon;
  if (!top.is_kept || !is_member_kept_) return;
  if (std::exchange(top.has_kept, true)) put(',');
  put('"');
  put(name_);
  put("\":");
}

bool JsonSieve::begin_value(char c) {
  if (!stack_.empty() && !stack_.back().is_object) {
    Frame& top = stack_.back();
    if (top.is_items) {
      is_in_item_ = true;
      item_ = {true, true, {}};
    } else if (std::exchange(top.has_kept, true) && top.is_kept) {
      put(',');
    }
  }
  if (c == '{' || c == '[') return open(c == '{');
  if (is_value_kept()) put(c);
  is_escaped_ = false;
  state_ = c == '"' ? State::text : State::literal;
  // A stray bracket, comma or colon where a value should be.
  return c != '}' && c != ',' && c != ':';
}

bool JsonSieve::open(bool is_object) {
  if (stack_.size() >= kMostDepth) return false;
  const bool is_kept = is_value_kept();
  const bool is_items = !is_object && stack_.size() == 1 && stack_.back().is_object && name_ == "items";
  if (is_kept) put(is_object ? '{' : '[');
  stack_.push_back({is_object, is_kept, is_items});
  state_ = is_object ? State::name : State::value;
  return true;
}

bool JsonSieve::close(bool is_object, const std::function<void(Piece)>& each) {
  if (stack_.empty() || stack_.back().is_object != is_object) return false;
  const bool is_kept = stack_.back().is_kept;
  stack_.pop_back();
  // The members of the outer object that were kept so far have a name that is kept.
  is_member_kept_ = is_kept;
  if (is_kept) put(is_object ? '}' : ']');
  end_value(each);
  return true;
}

void JsonSieve::end_value(const std::function<void(Piece)>& each) {
  state_ = stack_.empty() ? State::value : State::after;
  if (is_in_item_ && !stack_.empty() && stack_.back().is_items) {
    is_in_item_ = false;
    each(std::exchange(item_, {}));
  } else if (stack_.empty()) {
    each(std::exchange(document_, {}));
  }
}

}  // namespace layerd::peers
