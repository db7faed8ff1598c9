// SPDX-License-Identifier: Apache-2.0
// A clock that stands still until a test moves it. Safe on any thread.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace caisson::testing {

class FakeClock final : public Clock {
 public:
  UnixMillis NowMs() const override { return 1'700'000'000'000 + wall_ms_.load(); }
  std::chrono::steady_clock::time_point Steady() const override {
    return std::chrono::steady_clock::time_point(std::chrono::milliseconds(1'000'000 + steady_ms_.load()));
  }
  void Advance(std::chrono::milliseconds by) {
    wall_ms_ += by.count();
    steady_ms_ += by.count();
  }
  // The operator, or NTP, sets the clock: no time passes.
  void StepWallClock(std::chrono::milliseconds by) { wall_ms_ += by.count(); }

 private:
  std::atomic<int64_t> wall_ms_ = 0;
  std::atomic<int64_t> steady_ms_ = 0;
};

}  // namespace caisson::testing
