// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_status.h"

namespace caisson::cli {
namespace {

// A status is one byte: what does not fit must not come out as a success.
int Clamp(int64_t status) { return status >= 0 && status <= 255 ? static_cast<int>(status) : kExitRunFailed; }

int OfPayload(const JobView& job) {
  if (job.exit_code) return Clamp(*job.exit_code);
  if (job.signal) return Clamp(128 + *job.signal);
  return kExitRunFailed;
}

}  // namespace

int ExitStatusOf(const JobView& job) {
  if (job.state == "succeeded") return kExitOk;
  if (job.state == "cancelled") return kExitCancelled;
  if (job.reason == "exited" || job.reason == "signaled" || job.reason == "foreign_abi") return OfPayload(job);
  if (job.reason == "timed_out") return kExitTimedOut;
  if (job.reason == "oom_killed" || job.reason == "disk_full") return kExitKilled;
  // A failed exec is a setup_error that carries the code a shell would give.
  if (job.reason == "setup_error" && (job.exit_code == kExitCommandNotFound || job.exit_code == kExitNotExecutable))
    return static_cast<int>(*job.exit_code);
  return kExitRunFailed;  // image_error, setup_error, lost, expired, and what a newer server may add
}

}  // namespace caisson::cli
