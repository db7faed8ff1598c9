// SPDX-License-Identifier: Apache-2.0
// A prepared user namespace: maps `0 base 65536` for uid and gid, user.max_* written, no process left in it. Made for
// every sandbox and worker, single use; entered late, by setns, as one of the child's last steps. About 240 us: made
// inline now, behind the call that a pool will answer.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/id_ranges.h"

namespace caisson::sandbox {

// `for_worker` leaves mount, pid, net and ipc namespaces creatable inside (a store worker makes its own).
Result<Fd> PrepareUserNamespace(const IdRange& ids, const Environment& environment, bool for_worker);

// A detached, read-only or writable idmapped clone (nosuid, nodev) of a directory of the store: what is stored with
// the ids 0..65535 appears with those of `user_namespace`.
Result<Fd> CloneIdmapped(int directory, int user_namespace, bool read_only);

}  // namespace caisson::sandbox
