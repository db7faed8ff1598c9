// SPDX-License-Identifier: Apache-2.0
// All rlimits of a job: every one is set, as what the launcher was started with would leak in otherwise.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstdint>

#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

using ResourceLimits = std::array<rlimit, RLIM_NLIMITS>;

// By RLIMIT_* number. `unenforced` (bits of Unenforced): what the cgroup does not limit, rlimits do as well as they
// can. Clamped to this process's own hard limits where it may not raise them.
Result<ResourceLimits> JobResourceLimits(const Limits& limits, uint32_t unenforced);

}  // namespace caisson::sandbox
