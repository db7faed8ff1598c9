// SPDX-License-Identifier: Apache-2.0
// How a store worker gives up everything that it does not need, before the first hostile byte: the launcher has put
// it into user, mount, pid, net and ipc namespaces of its own, with the directory that it may see as its working
// directory; what is left to do is in the table in confine.cc. Irreversible, for the whole process.
#pragma once

#include "base/result.h"

namespace caisson::image {

// On return "/" is what was the working directory, only descriptors 0 to 2 are open, four capabilities over this user
// namespace are left, and any system call but those of an allow-list fails with EPERM. An error names the step.
Result<void> ConfineWorker();

}  // namespace caisson::image
