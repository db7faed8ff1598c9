// SPDX-License-Identifier: Apache-2.0
// From a job and its image to the SandboxSpec: which command, as whom, where, with which environment, by the rules of
// Docker and the OCI image specification. A pure function.
#pragma once

#include <string_view>
#include <tl/expected.hpp>

#include "image/image.h"
#include "queue/store.h"
#include "sandbox/spec.h"

namespace caisson::executor {

inline constexpr size_t kMaxEnvironmentBytes = 128 << 10;  // all variables together, with their NULs

// What runs, or how the attempt ends without running: `image_error` where the image is at fault, `setup_error` where
// the job is.
using Plan = tl::expected<sandbox::SandboxSpec, queue::Outcome>;

// Command: the job's entrypoint replaces the image's and drops its CMD; the job's command replaces CMD.
// Environment, later ones win: PATH, HOME, HOSTNAME; the image's (entries that are none are left out); the job's; ours:
// CAISSON_JOB_ID, CAISSON_ATTEMPT, CAISSON_FENCE, and CAISSON_PAYLOAD_FILE where there is a payload.
Plan BuildSandboxSpec(const queue::Claim& claim, const image::ImageRecord& image);

// "SIGTERM", "TERM", "15", "SIGRTMIN+3", "RTMAX-1" to a number; SIGTERM for everything that is none of these or cannot
// end a program.
int StopSignalOf(std::string_view text);

}  // namespace caisson::executor
