// SPDX-License-Identifier: Apache-2.0
// Fork-style children of the launcher's own (janitor, service, store workers): made with a pidfd, ended with the
// launcher. Only from the launcher's only thread: such a child may then allocate and log. Sandboxes are started
// otherwise (sandbox.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <initializer_list>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

struct ChildOptions {
  uint64_t clone_flags = 0;  // CLONE_NEW*
  int cgroup = -1;           // directory to be born in
};

// Runs `body` in a child and never returns there: the child exits 127 if `body` does. Before `body` the child has its
// parent-death signal, no blocked signal and a session of its own.
Result<Fd> StartChild(const ChildOptions& options, const std::function<void()>& body);

struct ChildEnd {
  bool signaled = false;
  int status = 0;  // exit code or signal
};
// Reaps the child, waiting for its end.
Result<ChildEnd> ReapChild(int pidfd);

void KillChild(int pidfd, int signal);

// In the child: the parent-death signal anew, as a change of ids clears it. Ends the process if the launcher is gone
// already, which the liveness pipe tells by POLLHUP: hence the child's own copy of its write end is closed first.
void EndWithLauncher(int liveness_read, int liveness_write);

// In the child, with the host's /proc in sight: how soon the kernel ends it for want of memory, from 0 like any
// process to 1000 first of all. The launcher's own protection is not its children's.
void SetOomScore(int score);

// Moves descriptors to the numbers 0, 1, 2, ...; those that are to survive an exec. Everything above is closed on exec.
// A negative number leaves that place as it is.
Result<void> ArrangeDescriptors(std::initializer_list<int> descriptors);

}  // namespace caisson::sandbox
