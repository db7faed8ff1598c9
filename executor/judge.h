// SPDX-License-Identifier: Apache-2.0
// From what the parts report to how an attempt ended: an ExitReport of the kernel's facts, an error of the image store
// or of the launcher, each to an Outcome. Pure functions.
#pragma once

#include "base/result.h"
#include "queue/job.h"
#include "sandbox/spec.h"

namespace caisson::executor {

// `command` is argv[0]. `cancelled`: the stop that the report may speak of came from a cancel request.
queue::Outcome Judge(const sandbox::ExitReport& report, const queue::JobSpec& spec, const std::string& command,
                     bool cancelled);

// Resolve() or Pull() failed. A registry that does not answer, or a full disk of ours, is worth a retry.
queue::Outcome JudgeImageError(const Error& error);

// OpenRootfs() or Launch() failed: nothing ran.
queue::Outcome JudgeLaunchError(const Error& error, const queue::JobSpec& spec);

queue::Outcome Lost(std::string message);

// "memory", "pids", "cpu" of the bits of sandbox::Unenforced.
std::vector<std::string> UnenforcedNames(uint32_t unenforced);

}  // namespace caisson::executor
