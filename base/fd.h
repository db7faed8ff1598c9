// SPDX-License-Identifier: Apache-2.0
// Fd owns one file descriptor and closes it once. A raw `int` in a signature is a borrowed descriptor. Every
// descriptor of ours is close-on-exec from birth. Move-only; belongs to whoever holds it, on any thread.
#pragma once

#include <utility>

namespace caisson {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}  // takes ownership; a negative number is "none"
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    Fd moved(std::move(other));
    std::swap(fd_, moved.fd_);
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();  // closes now; close is never retried, as the kernel releases the number in any case

 private:
  int fd_ = -1;
};

}  // namespace caisson
