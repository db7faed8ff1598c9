// SPDX-License-Identifier: Apache-2.0
// Clock: where time comes from, so that a test can tell it. Wall time is for what users and the store see (UTC),
// steady time for measuring. Implementations are safe on any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace caisson {

using UnixMillis = int64_t;  // milliseconds since 1970-01-01T00:00:00Z

class Clock {
 public:
  virtual ~Clock() = default;
  virtual UnixMillis NowMs() const = 0;
  virtual std::chrono::steady_clock::time_point Steady() const = 0;
};

const Clock& SystemClock();

// "2026-11-24T20:28:26.123Z" (RFC 3339).
std::string FormatTime(UnixMillis time);

}  // namespace caisson
