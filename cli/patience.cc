// SPDX-License-Identifier: Apache-2.0
#include "cli/patience.h"

#include <poll.h>

#include <algorithm>

namespace caisson::cli {
namespace {

constexpr std::chrono::milliseconds kFirstDelay{50};
constexpr std::chrono::milliseconds kLongestDelay{2000};

}  // namespace

bool Patience::Wait() {
  const auto now = std::chrono::steady_clock::now();
  if (waits_ == 0) away_since_ = now;
  if (now - away_since_ > limit_) return false;
  // Doubled each time: 50 ms, 100 ms, ... 2 s.
  const auto delay = std::min(kFirstDelay * (1 << std::min(waits_, 10)), kLongestDelay);
  poll(nullptr, 0, static_cast<int>(delay.count()));
  ++waits_;
  return true;
}

void Patience::Reset() { waits_ = 0; }

}  // namespace caisson::cli
