// SPDX-License-Identifier: Apache-2.0
// The private upper of one job: a tmpfs of its own with a size and an inode limit, in which everything that the
// launcher mounts on or writes is made before overlay shows anything of the image. What is made here hides what the
// image has of that name (a link, a file, a FIFO), so that no later step meets an inode of the image.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

inline constexpr const char* kUpperDirectory = "u";  // overlay's upperdir in the tmpfs
inline constexpr const char* kWorkDirectory = "w";   // and its workdir

// The payload's file, as seen in the job's root, without the leading slash.
inline constexpr const char* kPayloadPath = "run/caisson/payload";

// A detached tmpfs (nosuid, nodev) for a job whose ids begin at `id_base`. `with_payload` makes an empty payload file.
Result<Fd> MakeUpper(const SandboxSpec& spec, uint32_t id_base, bool with_payload);

}  // namespace caisson::sandbox
