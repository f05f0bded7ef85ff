// A move-only std::function: captures may be move-only, it is called through once or many times.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace layerd {

template <class Signature>
class Callback;

template <class R, class... Args>
class Callback<R(Args...)> {
 public:
  Callback() = default;
  Callback(std::nullptr_t) {}  // NOLINT: conversion intended
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Callback> &&
                                              std::is_invocable_r_v<R, std::decay_t<F>&, Args...>>>
  Callback(F&& f) : body_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(f))) {}  // NOLINT
  Callback(Callback&&) noexcept = default;
  Callback& operator=(Callback&& other) noexcept {
    auto old = std::move(body_);  // destroyed last: its captures may reach us again
    body_ = std::move(other.body_);
    return *this;
  }

  explicit operator bool() const { return body_ != nullptr; }
  R operator()(Args... args) { return body_->call(std::forward<Args>(args)...); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual R call(Args... args) = 0;
  };
  template <class F>
  struct Body final : Base {
    explicit Body(F&& f) : f_(std::move(f)) {}
    explicit Body(const F& f) : f_(f) {}
    R call(Args... args) override { return f_(std::forward<Args>(args)...); }
    F f_;
  };
  std::unique_ptr<Base> body_;
};

}  // namespace layerd
