// SPDX-License-Identifier: Apache-2.0
// HostState: everything of the host that a daemon can leave behind, as sorted lines of text, so that before and after
// can be compared. Taken while the daemon is idle.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/daemon.h"

namespace caisson::integration {

// One line for each: mount of launcher, janitor and service; cgroup below the daemon's parent; descriptor of those
// processes, by kind; process; lock of an id block; entry of the temporary directories.
std::vector<std::string> HostState(const Daemon& daemon);

// Waits until the daemon's state is `before` again, as teardown runs beside the next request; fails the test with the
// difference when it is not within `limit`.
void ExpectSameState(const std::vector<std::string>& before, const Daemon& daemon, milliseconds limit = seconds(20));

// For a daemon that has ended: no process with its mark, no mount, cgroup or temporary file of it.
void ExpectNothingLeft(const Daemon& daemon);

}  // namespace caisson::integration
