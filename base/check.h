// SPDX-License-Identifier: Apache-2.0
// CHECK: aborts on a bug of ours, in release builds too. Never for input, never for what the system may refuse.
#pragma once

namespace caisson::internal {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}  // namespace caisson::internal

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::caisson::internal::CheckFailed(#condition, __FILE__, __LINE__))
