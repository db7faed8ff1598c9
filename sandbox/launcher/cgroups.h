// SPDX-License-Identifier: Apache-2.0
// Cgroups: the launcher's part of the cgroup v2 tree. Parent: --cgroup-parent, else the delegated own one (the launcher
// moves itself into a leaf `launcher`), else /caisson-<instance> on the v2 root. A host whose v2 tree has no
// controllers still gets cgroups, for cgroup.kill; a host without any v2 tree gets none. Controllers on v1 count as
// absent. Everything is reached by descriptors, which stay good after the launcher has left the host's mounts.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

// One job's or worker's cgroup. Move-only; Remove() is explicit, since it can fail while a zombie is left.
class Cgroup {
 public:
  Cgroup() = default;
  Cgroup(Fd directory, Fd parent, std::string name);
  bool exists() const { return static_cast<bool>(directory_); }
  int directory() const { return directory_.get(); }  // for CLONE_INTO_CGROUP
  const std::string& name() const { return name_; }
  void Kill() const;            // cgroup.kill
  bool Populated() const;       // cgroup.events
  void WaitUntilEmpty() const;  // after Kill(): until cgroup.events says so, a few seconds at most
  Result<void> Remove();        // rmdir; kConflict while something is left in it
  Usage ReadUsage() const;      // nullopt where the host does not measure
  bool OomKilled() const;       // memory.events oom_kill > 0

 private:
  Fd directory_;
  Fd parent_;
  std::string name_;
};

class Cgroups {
 public:
  static Result<Cgroups> Open(const std::string& parent, const std::string& instance);

  bool has_memory() const { return has_memory_; }
  bool has_pids() const { return has_pids_; }
  bool has_cpu() const { return has_cpu_; }
  bool available() const { return static_cast<bool>(parent_); }  // a v2 tree that we may write
  uint32_t Unenforceable() const;                                // bits of Unenforced
  const std::string& why() const { return why_; }                // for doctor: what was found where

  // Makes a cgroup "<instance>-<name>.<n>" (n counts up, since the last one of that name may not be gone yet) and
  // writes its limits (pids + 1, as pid 1 counts) before anything is in it, all but the processor's. An empty Cgroup
  // where the host has no v2 tree.
  Result<Cgroup> Make(const std::string& name, const Limits& limits);
  // cpu.max, apart: a process for which the launcher waits must not be throttled. Nothing is done for an empty Cgroup,
  // or without the controller.
  Result<void> LimitCpu(const Cgroup& cgroup, const Limits& limits) const;
  // Kills and removes what an earlier launcher of this instance left. Returns how many.
  int Sweep();
  // Removes the parent at the launcher's end.
  void RemoveParent();

 private:
  Result<void> OpenParent(const std::string& top, const std::string& path, bool delegated);
  Result<void> WriteLimits(int directory, const Limits& limits) const;

  Fd parent_;
  Fd above_parent_;
  std::string parent_name_;
  std::string prefix_;        // of the names of our children
  uint64_t made_ = 0;         // children so far
  bool made_parent_ = false;  // so that RemoveParent() may
  std::string why_;
  bool has_memory_ = false;
  bool has_pids_ = false;
  bool has_cpu_ = false;
  bool has_hugetlb_ = false;
};

}  // namespace caisson::sandbox
