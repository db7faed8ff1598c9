// SPDX-License-Identifier: Apache-2.0
// Secret: a string that cannot be formatted, logged or compared by accident (tokens, passwords). Expose() says at
// the place of use that it is meant. Wiped when destroyed.
#pragma once

#include <string.h>

#include <string>
#include <utility>

namespace caisson {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.Wipe(); }
  Secret& operator=(Secret other) noexcept {
    value_.swap(other.value_);
    return *this;
  }
  ~Secret() { Wipe(); }

  const std::string& Expose() const { return value_; }
  bool empty() const { return value_.empty(); }

 private:
  void Wipe() { ::explicit_bzero(value_.data(), value_.size()); }
  std::string value_;
};

}  // namespace caisson
