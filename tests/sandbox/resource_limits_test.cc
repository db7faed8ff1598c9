// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/resource_limits.h"

#include <gtest/gtest.h>

namespace caisson::sandbox {
namespace {

constexpr Limits kLimits{.cpu_millis = 500, .memory_bytes = 64 << 20, .pids = 20, .disk_bytes = 1 << 20};

TEST(ResourceLimitsTest, NoneIsAboveWhatThisProcessMaySet) {
  const Result<ResourceLimits> limits = JobResourceLimits(kLimits, 0);
  ASSERT_TRUE(limits.has_value());
  for (size_t i = 0; i < limits->size(); ++i) EXPECT_LE((*limits)[i].rlim_cur, (*limits)[i].rlim_max) << i;
  EXPECT_EQ((*limits)[RLIMIT_NPROC].rlim_max, 21U);
  EXPECT_EQ((*limits)[RLIMIT_CORE].rlim_cur, 1U);
  EXPECT_EQ((*limits)[RLIMIT_NOFILE].rlim_cur, 1024U);
  EXPECT_EQ((*limits)[RLIMIT_RTPRIO].rlim_max, 0U);
}

TEST(ResourceLimitsTest, MemoryBecomesADataLimitOnlyWhereTheCgroupDoesNotLimitIt) {
  EXPECT_EQ((*JobResourceLimits(kLimits, 0))[RLIMIT_DATA].rlim_cur, RLIM_INFINITY);
  EXPECT_EQ((*JobResourceLimits(kLimits, kUnenforcedMemory))[RLIMIT_DATA].rlim_cur, kLimits.memory_bytes);
  EXPECT_EQ((*JobResourceLimits(kLimits, kUnenforcedPids | kUnenforcedCpu))[RLIMIT_DATA].rlim_cur, RLIM_INFINITY);
}

}  // namespace
}  // namespace caisson::sandbox
