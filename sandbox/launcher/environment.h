// SPDX-License-Identifier: Apache-2.0
// Environment: what the launcher makes once at its start and every launch uses: the lean mount namespace it lives in,
// the cgroup parent, the id ranges, the compiled seccomp programs, pid 1's program. Owned by the launcher's main, on
// its only thread.
#pragma once

#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/cgroups.h"
#include "sandbox/launcher/child.h"
#include "sandbox/launcher/id_ranges.h"
#include "sandbox/launcher/overlay.h"
#include "sandbox/launcher/seccomp_filter.h"

namespace caisson::sandbox {

struct EnvironmentOptions {
  std::string data_dir;       // has layers/ and tmp/
  std::string init_program;   // path of caisson-init
  std::string cgroup_parent;  // empty: see Cgroups::Open
  std::string instance;       // [a-z0-9]{8}: marks cgroups and id blocks as ours
  bool best_effort = false;   // isolation = "best-effort": run without the limits that the host cannot enforce
};

// Descriptors into the launcher's own small root (a tmpfs with the data directory, /proc and the assembly directory
// attached), which EnterLeanRoot() makes and enters. After it no path of the host can be named.
struct LeanRoot {
  Fd host_mount_namespace;  // to start the service and the workers from
  Fd data_dir;              // /data of the lean root
  Fd layers_dir;            // layers/
  Fd tmp_dir;               // tmp/
  Fd assembly_dir;          // private directory in which mounts are attached for a moment where the kernel demands it
  Fd proc_dir;              // procfs of the host's pid namespace, unmasked
};

struct Environment {
  EnvironmentOptions options;
  LeanRoot root;
  Cgroups cgroups;
  IdRanges ids;
  SeccompFilter seccomp;
  OverlayMethod overlay;                                  // how overlays are put together on this kernel
  std::span<const ChildStep> child_steps = ChildSteps();  // what a sandbox's first process does before its exec
  Fd init_program;                                        // sealed memfd, or a file on a private read-only mount
  Fd liveness_read;                                       // POLLHUP once the launcher is gone
  Fd liveness_write;

  // Everything above, in the order that its parts need. After it the process is in its lean root.
  static Result<Environment> Prepare(EnvironmentOptions options);
};

}  // namespace caisson::sandbox
