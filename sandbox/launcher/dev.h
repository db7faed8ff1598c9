// SPDX-License-Identifier: Apache-2.0
// The small file systems of one job beside its root, each its own and detached until the child attaches it: /dev with
// nodes made here (binds of the host's would share locks and notifications with everybody), /dev/shm, /tmp, and an
// empty directory for /sys and for what is masked.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

struct SmallMounts {
  Fd dev;    // read-only, nosuid, noexec
  Fd shm;    // nosuid, nodev, noexec
  Fd tmp;    // nosuid, nodev; programs there may be executed, as JNI and wheels unpack into it
  Fd empty;  // read-only, nosuid, nodev, noexec
};

// `id_base` is the host's id of the job's root: without it the job would see them owned by nobody.
Result<SmallMounts> MakeSmallMounts(const Limits& limits, uint32_t id_base);

}  // namespace caisson::sandbox
