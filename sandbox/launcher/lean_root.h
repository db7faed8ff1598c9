// SPDX-License-Identifier: Apache-2.0
// The launcher's own small root. Each mount that the launcher sees is copied for each job (2 us each), and what it
// cannot name it cannot be led to: so it leaves the host's mounts for a tmpfs with
//   /data      the data directory, as a copy of its mount (nosuid, nodev)
//   /proc      procfs of the host's pid namespace: unmasked and writable, as setting up jobs demands
//   /assembly  a private tmpfs, on which overlay's layers are attached for a moment where the kernel demands it
//   /job       the empty directory at which a child attaches its job's root
// and nothing else. Once, at the launcher's start, on its only thread.
#pragma once

#include <string>

#include "base/result.h"
#include "sandbox/launcher/environment.h"

namespace caisson::sandbox {

inline constexpr const char* kAssemblyPath = "/assembly";
inline constexpr const char* kJobRootPath = "/job";

// Everything that must still be opened by a path of the host is to be opened before. `data_dir` is absolute; layers/
// and tmp/ are made in it where they are missing.
Result<LeanRoot> EnterLeanRoot(const std::string& data_dir);

}  // namespace caisson::sandbox
