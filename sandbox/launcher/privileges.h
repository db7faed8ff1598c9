// SPDX-License-Identifier: Apache-2.0
// Which rights the launcher keeps, and how the service loses all of them. One thread each; irreversible.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace caisson::sandbox {

// Cuts permitted, effective and bounding set to what launching needs, and makes the process non-dumpable, so that no
// process of the same user can look into it.
Result<void> KeepLauncherCapabilities();

// Ids, no groups, no capability in any set, no_new_privs; read back, since a half-dropped process must not go on.
Result<void> DropAllPrivileges(uid_t uid, gid_t gid);

// True when this process has exactly one thread.
bool IsSingleThreaded();

}  // namespace caisson::sandbox
