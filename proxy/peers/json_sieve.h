// JsonSieve: takes out of a stream of JSON the few values that are wanted, however large the rest is. Made
// for what an API server answers: a list whose "items" are delivered one by one, or one document after the
// other. Only the members of objects whose names are wanted are kept, at every depth; of the others no byte
// is. What it delivers is JSON again if the stream was, and is parsed by who gets it. Bounded in memory by
// kMostPiece. Pure.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::peers {

class JsonSieve {
 public:
  static constexpr std::size_t kMostPiece = 256 * 1024;  // of what is kept
  static constexpr std::size_t kMostDepth = 64;
  static constexpr std::size_t kMostName = 512;  // a longer one is not wanted

  struct Piece {
    bool is_item = false;  // an element of "items" at the top; else a whole document, without them
    bool is_whole = true;  // false: it was larger than kMostPiece and `text` is empty
    std::string text;
  };

  explicit JsonSieve(std::set<std::string, std::less<>> wanted) : wanted_(std::move(wanted)) {}

  // each: called for every piece that ends within `bytes`, in order.
  // Errors: upstream_protocol: these bytes are no JSON, or nested deeper than kMostDepth; the sieve is of no
  // use afterwards.
  Result<Ok> feed(std::string_view bytes, const std::function<void(Piece)>& each);
  // The stream may end here: no document is half there.
  bool is_between() const { return stack_.empty() && state_ == State::value; }

 private:
  enum class State {
    value,    // a value begins, or the array ends
    name,     // a name begins, or the object ends
    in_name,  // within the quotes of a name
    colon,    // behind a name
    text,     // within the quotes of a value
    literal,  // within a number or a word
    after,    // behind a value within an array or object
  };
  struct Frame {
    bool is_object;
    bool is_kept;           // what is in it goes into the piece
    bool is_items;          // its elements are pieces
    bool has_kept = false;  // a member or an element was kept: a comma is due before the next
  };
  bool take(char c, const std::function<void(Piece)>& each);
  bool begin_value(char c);
  bool open(bool is_object);
  bool close(bool is_object, const std::function<void(Piece)>& each);
  void end_value(const std::function<void(Piece)>& each);
  void end_name();
  void put(char c);
  void put(std::string_view text);
  bool is_value_kept() const;

  const std::set<std::string, std::less<>> wanted_;
  State state_ = State::value;
  bool is_escaped_ = false;
  std::string name_;            // of the member that is read, as written
  bool is_member_kept_ = true;  // that member's value
  std::vector<Frame> stack_;
  Piece item_, document_;
  bool is_in_item_ = false;
};

}  // namespace layerd::peers
