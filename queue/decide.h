// SPDX-License-Identifier: Apache-2.0
// What becomes of a job after an attempt. A pure function: no clock, no store.
#pragma once

#include "queue/job.h"

namespace caisson::queue {

inline constexpr int kPlatformBudget = 5;  // failures that are ours or the registry's, before we give up

struct FailureCount {
  int by_user = 0;  // failures before this one
  int by_platform = 0;
};

struct Disposition {
  enum class Kind { kDone, kRetry, kRequeue } kind = Kind::kDone;
  JobState state = JobState::kSucceeded;  // of kDone
  std::chrono::milliseconds delay{0};     // of kRetry: state scheduled until then
  bool counts_for_user = false;           // which counter this failure raises
  bool counts_for_platform = false;
};

// Exited other than 0, signaled, timed_out, oom_killed, disk_full use max_attempts after a fixed delay; foreign_abi,
// image_error and setup_error are final; a transient image_error is retried after 2, 4, 8, 16 s; lost is requeued
// at once; the last two while the platform's budget lasts. After a cancel request nothing is retried.
Disposition Decide(const Outcome& outcome, const JobSpec& spec, const FailureCount& before, bool cancel_requested);

}  // namespace caisson::queue
