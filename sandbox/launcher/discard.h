// SPDX-License-Identifier: Apache-2.0
// Throws bytes of a job's output away, once the service has them in its log.
#pragma once

#include <cstdint>

namespace caisson::sandbox {

// Takes up to `bytes` bytes out of a non-blocking pipe, of those that are in it at the call: a job that goes on writing
// shall not hold the launcher. Fewer are fine: the job can read its own pipe too.
void Discard(int pipe, uint64_t bytes);

}  // namespace caisson::sandbox
