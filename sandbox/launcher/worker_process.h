// SPDX-License-Identifier: Apache-2.0
// WorkerProcess: one store worker (image/worker) from its start to its reap. It parses hostile bytes, so it gets ids,
// namespaces and a cgroup of its own, sees of the store one writable directory (and for a merge some read-only ones)
// through idmapped clones, and holds three descriptors. The program confines itself further before it reads the first
// byte. Owned by the WorkerTable, on the launcher's thread.
#pragma once

#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/cgroups.h"
#include "sandbox/launcher/child_process.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/id_ranges.h"
#include "sandbox/launcher_client.h"

namespace caisson::sandbox {

struct WorkerRequest {
  WorkerVerb verb = WorkerVerb::kUnpack;
  std::string name;                       // of its cgroup
  int program = -1;                       // caisson-worker, opened at the launcher's start; all are borrowed
  int input = -1;                         // becomes its descriptor 0
  int report = -1;                        // becomes its descriptor 1
  int directory = -1;                     // real directory in tmp/, shown as ./out with the image's ids
  std::span<const int> layers_top_first;  // real directories, shown read-only as ./layers/0...
};

class WorkerProcess {
 public:
  // On return the program runs, or nothing is left behind.
  static Result<WorkerProcess> Start(const WorkerRequest& request, Environment& environment);

  int pidfd() const { return pidfd_.get(); }  // readable once it has ended; borrowed
  void Kill();
  // Only after pidfd() became readable. Its ids and cgroup are free then.
  Result<ChildEnd> Reap();
  // The first bytes that it wrote to stderr, for the log; after Reap().
  std::string Complaint() const;

 private:
  Fd pidfd_;
  Fd stderr_;
  IdRange ids_;
  Cgroup cgroup_;
};

}  // namespace caisson::sandbox
