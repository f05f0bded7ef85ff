// Bytes and where they lie in a blob.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace layerd {

using ByteCount = std::uint64_t;
using ByteView = std::string_view;

inline constexpr ByteCount operator""_KiB(unsigned long long n) { return n << 10; }
inline constexpr ByteCount operator""_MiB(unsigned long long n) { return n << 20; }
inline constexpr ByteCount operator""_GiB(unsigned long long n) { return n << 30; }

// Owned bytes, not initialised on allocation, movable only.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::size_t size) : data_(size ? new char[size] : nullptr), size_(size) {}
  static Bytes copy_of(ByteView view) {
    Bytes bytes(view.size());
    if (!view.empty()) std::memcpy(bytes.data(), view.data(), view.size());
    return bytes;
  }
  Bytes(Bytes&& other) noexcept
      : data_(std::move(other.data_)),
        begin_(std::exchange(other.begin_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  Bytes& operator=(Bytes&& other) noexcept {
    data_ = std::move(other.data_);
    begin_ = std::exchange(other.begin_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  char* data() { return data_.get() + begin_; }
  const char* data() const { return data_.get() + begin_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView view() const { return {data(), size_}; }
  std::string str() const { return std::string(view()); }
  // Drops bytes at the end / at the front without moving any. n <= size().
  void truncate(std::size_t n) { size_ = std::min(n, size_); }
  void drop_front(std::size_t n) {
    n = std::min(n, size_);
    begin_ += n;
    size_ -= n;
  }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

// Half open: [first, end).
struct ByteRange {
  ByteCount first = 0;
  ByteCount end = 0;
  ByteCount size() const { return end - first; }
  bool empty() const { return end <= first; }
  bool operator==(const ByteRange&) const = default;
};

}  // namespace layerd
