// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace caisson::internal {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "caisson: bug: %s:%d: %s does not hold\n", file, line, condition);
  std::abort();
}

}  // namespace caisson::internal
