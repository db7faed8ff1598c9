// SPDX-License-Identifier: Apache-2.0
// The first process of a sandbox between clone3 and the exec of pid 1: a table of named steps. It shares the
// launcher's memory while the launcher is suspended (CLONE_VM | CLONE_VFORK), so a step makes raw system calls only:
// no allocation, no lock, no errno, no library. What a step needs was prepared by the launcher in the ChildContext;
// which step ran, how long, and why one failed is left there for the launcher to read.
#pragma once

#include <linux/filter.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace caisson::sandbox {

struct ChildContext;

struct ChildStep {
  const char* name;
  long (*run)(ChildContext& context);  // 0, or a negative errno
};

// In the order of the specification; the table says why where it is not obvious.
std::span<const ChildStep> ChildSteps();
inline constexpr size_t kMaxChildSteps = 48;

// Runs the steps; does not come back. `context` is a ChildContext.
void RunChildSteps(void* context);

// The steps whose failure is the image's or the job's, not ours.
inline constexpr const char* kMakeWorkingDirectoryStep = "make working directory";
inline constexpr const char* kEnterWorkingDirectoryStep = "enter working directory";

inline constexpr size_t kResourceLimits = 16;  // RLIM_NLIMITS
inline constexpr size_t kMaxMounts = 64;

// One line that the job's mount table must have.
struct ExpectedMount {
  const char* path;
  const char* type;   // of the file system
  const char* flags;  // mount options that must be there, separated by commas
};

struct SysctlValue {
  const char* file;  // beneath /proc
  const char* value;
};

struct ChildContext {
  std::span<const ChildStep> steps;

  // Descriptors, all borrowed from the launcher; -1 for none.
  int host_proc = -1;
  int root = -1;  // detached: overlay, /dev, /dev/shm, /tmp, an empty directory
  int dev = -1;
  int shm = -1;
  int tmp = -1;
  int empty = -1;
  int user_namespace = -1;
  int stdout_pipe = -1;  // write ends
  int stderr_pipe = -1;
  int status_pipe = -1;
  int payload_source = -1;
  int liveness_read = -1;
  int liveness_write = -1;
  int init_program = -1;

  const char* host_name = nullptr;
  const char* working_dir = nullptr;
  std::span<const SysctlValue> sysctls;
  rlimit limits[kResourceLimits] = {};
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::span<const uint32_t> groups;
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  std::span<const sock_fprog> filters;

  // Made on the way by the child, whose descriptors are its own.
  int proc = -1;
  int payload_file = -1;
  ExpectedMount mounts[kMaxMounts] = {};
  size_t mount_count = 0;

  // The report.
  volatile uint32_t step = 0;  // the one that runs or failed
  volatile long error = 0;     // its negative errno
  volatile uint32_t micros[kMaxChildSteps] = {};
};

// Notes a mount that VerifyMounts() is to find.
long ExpectMount(ChildContext& context, const char* path, const char* type, const char* flags);

// ---- The steps, by file ------------------------------------------------------------------------------------------
// child_process_steps.cc: what the process is.
long WatchParent(ChildContext& context);
long RaiseOomScore(ChildContext& context);
long ResetScheduling(ChildContext& context);
long AttachOutput(ChildContext& context);
long SetHostName(ChildContext& context);
long BringLoopbackUp(ChildContext& context);
long OpenStandardInput(ChildContext& context);
long SetResourceLimits(ChildContext& context);
long WatchLauncher(ChildContext& context);
long ArrangeChildDescriptors(ChildContext& context);
long LimitDescriptors(ChildContext& context);
long InstallSeccomp(ChildContext& context);
long ExecInit(ChildContext& context);

// child_mount_steps.cc: what it sees.
long MakeMountsPrivate(ChildContext& context);
long AttachRoot(ChildContext& context);
long AttachProc(ChildContext& context);
long AttachDev(ChildContext& context);
long AttachTmpAndSys(ChildContext& context);
long WriteSysctls(ChildContext& context);
long MaskPaths(ChildContext& context);
long ProtectSysctls(ChildContext& context);
long PivotRoot(ChildContext& context);
long VerifyMounts(ChildContext& context);

// child_identity_steps.cc: who it is.
long EnterUserNamespace(ChildContext& context);
long LockSecurebits(ChildContext& context);
long EmptyBoundingSet(ChildContext& context);
long BecomeRootInside(ChildContext& context);
long MakeWorkingDirectory(ChildContext& context);
long BecomeJobUser(ChildContext& context);
long JoinNewSessionKeyring(ChildContext& context);
long DropCapabilities(ChildContext& context);
long EnterWorkingDirectory(ChildContext& context);
long SetNoNewPrivileges(ChildContext& context);

}  // namespace caisson::sandbox
