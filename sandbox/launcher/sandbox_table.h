// SPDX-License-Identifier: Apache-2.0
// SandboxTable: the sandboxes that run now, from launch to the moment their last mount is gone: time-outs and the
// stop sequence (signal, grace, kill), what was drained from their pipes, and the order of release after the reap:
// mounts, cgroup, id range, pins. Time is kept here, so that a service that is dead or hostile cannot extend a job.
// Owned by the Server, on the launcher's thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/handle_table.h"
#include "sandbox/launcher/janitor.h"
#include "sandbox/launcher/layer_store.h"
#include "sandbox/launcher/sandbox.h"
#include "sandbox/launcher_client.h"

namespace caisson::sandbox {

class SandboxTable {
 public:
  using OnExited = std::function<void(SandboxHandle, ExitReport)>;
  // `on_exited` is called after a sandbox was reaped and before its handle becomes invalid.
  SandboxTable(EventLoop& loop, Environment& environment, Janitor& janitor, OnExited on_exited);
  ~SandboxTable();

  struct Started {
    SandboxHandle handle;
    int stdout_pipe;  // borrowed
    int stderr_pipe;
    uint32_t unenforced;
  };
  // kUnavailable when as many run as this process can keep.
  Result<Started> Launch(const SandboxSpec& spec, std::shared_ptr<const Rootfs> rootfs, int payload);

  Result<void> Stop(SandboxHandle handle, std::chrono::milliseconds grace);
  Result<void> Kill(SandboxHandle handle);
  void KillAll();
  Result<void> Drained(SandboxHandle handle, Stream stream, uint64_t position);
  std::vector<RunningSandbox> List() const;

  // Nothing runs and nothing is left to release.
  bool idle() const { return running_.size() == 0 && releasing_ == 0; }
  size_t running() const { return running_.size(); }
  size_t releasing() const { return releasing_; }
  void set_on_idle(std::function<void()> on_idle) { on_idle_ = std::move(on_idle); }

 private:
  struct Running;
  enum class Cause { kStopped, kTimedOut };

  Result<Running*> Find(SandboxHandle handle) const;
  void ArmTimeout(uint64_t handle, std::chrono::milliseconds delay);
  void OnStatus(uint64_t handle, uint32_t events);
  void BeginStop(uint64_t handle, Cause cause, std::chrono::milliseconds grace);
  void OnEnd(uint64_t handle);
  void Release(Remains remains, std::shared_ptr<const Rootfs> rootfs);
  void RemoveCgroup(std::shared_ptr<Remains> remains, int tries);
  void Released();

  EventLoop& loop_;
  Environment& environment_;
  Janitor& janitor_;
  OnExited on_exited_;
  std::function<void()> on_idle_;
  HandleTable<Running> running_;
  size_t releasing_ = 0;
};

}  // namespace caisson::sandbox
