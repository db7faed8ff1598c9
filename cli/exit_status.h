// SPDX-License-Identifier: Apache-2.0
// What `caisson run` exits with. A pure function of the finished job; docs and tests hold the same table.
#pragma once

#include "cli/job_view.h"

namespace caisson::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitTimedOut = 124;
inline constexpr int kExitRunFailed = 125;  // of `run`: it, the daemon, the image or the set-up failed, not the job
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitCommandNotFound = 127;
inline constexpr int kExitKilled = 137;     // 128 + SIGKILL: what a shell shows for a process out of memory
inline constexpr int kExitCancelled = 130;  // 128 + SIGINT: what Ctrl-C gives

// `job` is final.
int ExitStatusOf(const JobView& job);

}  // namespace caisson::cli
