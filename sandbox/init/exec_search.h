// SPDX-License-Identifier: Apache-2.0
// Which file a command word means, by the rules of execvp(3), except that a file without a known format is an error
// and not a script for /bin/sh. For pid 1: no libc.
#pragma once

namespace caisson::sandbox {

inline constexpr int kMaxPathEntries = 128;  // each may cost a walk through many links; more are not looked into

// Executes argv[0], looked for in PATH of `envp` where it has no slash. Returns only on failure, a negative errno:
// EACCES where a candidate existed that may not be executed, ENOENT where there was none.
long ExecuteBySearch(char** argv, char** envp);

}  // namespace caisson::sandbox
