// SPDX-License-Identifier: Apache-2.0
// A Sandbox is one running, confined process tree. The launcher owns it, on its only thread; the service sees it only
// as messages. It knows neither jobs nor images: everything it needs is in the SandboxSpec.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/cgroups.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/id_ranges.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

// What is left when a sandbox has been reaped: handed to the janitor, so that nobody waits for it. The order of
// release is: mounts (dropping both descriptors), then the cgroup, then the id range.
struct Remains {
  Fd mount_namespace;
  Fd upper;  // a descriptor of the upper's file system
  Cgroup cgroup;
  IdRange ids;
};

struct LaunchRequest {
  const SandboxSpec& spec;
  std::span<const int> layers_top_first;  // borrowed directory descriptors in the layer store
  int payload = -1;                       // borrowed; -1 for none
};

class Sandbox {
 public:
  // Starts what `request` describes. On return pid 1 has been exec'd, or nothing is left behind. Blocks for a few
  // milliseconds. Error: the step that failed and its errno ("mount proc: EPERM").
  static Result<Sandbox> Launch(const LaunchRequest& request, Environment& environment);

  Sandbox(Sandbox&&) noexcept;
  Sandbox& operator=(Sandbox&&) noexcept;
  ~Sandbox();  // kills what still runs

  int pidfd() const;        // readable once pid 1 has ended. Borrowed.
  int status_pipe() const;  // readable when pid 1 has something to say
  int stdout_pipe() const;  // read end, non-blocking
  int stderr_pipe() const;
  uint32_t unenforced() const;

  // Reads what pid 1 said. True once: when the payload has been exec'd (its time-out starts now).
  bool ReadStatus();
  // The stop signal to the payload now (through pid 1). Idempotent.
  void SendStopSignal();
  // cgroup.kill, or pid 1 where there is no cgroup.
  void Kill();
  // How it ended. Only after pidfd() became readable. The flags timed_out and stopped are the caller's to set.
  ExitReport Reap(Remains& remains) &&;

 private:
  struct State;
  explicit Sandbox(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace caisson::sandbox
