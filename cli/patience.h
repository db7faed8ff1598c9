// SPDX-License-Identifier: Apache-2.0
// Patience: how long to keep asking a daemon that went away, since a service that is restarted or upgraded comes back
// within seconds. Belongs to one thread.
#pragma once

#include <chrono>

namespace caisson::cli {

class Patience {
 public:
  explicit Patience(std::chrono::milliseconds limit = std::chrono::minutes(2)) : limit_(limit) {}

  // Waits a little, longer each time; false, at once, when it has gone on for longer than the limit since the first
  // Wait() after a Reset().
  bool Wait();
  // The daemon was heard: start again.
  void Reset();
  // Waits since the last Reset().
  int waits() const { return waits_; }

 private:
  std::chrono::milliseconds limit_;
  std::chrono::steady_clock::time_point away_since_;  // while waits_ > 0
  int waits_ = 0;
};

}  // namespace caisson::cli
