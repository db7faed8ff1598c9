// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/child.h"

#include <cerrno>
#include <ctime>

#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

constexpr ChildStep kSteps[] = {
    {"watch parent", WatchParent},
    {"raise oom score", RaiseOomScore},  // its floor needs rights on the host
    {"reset scheduling", ResetScheduling},
    {"attach output", AttachOutput},             // and everything else close-on-exec, before any path is touched
    {"make mounts private", MakeMountsPrivate},  // before the first mount, or it would reach the launcher's root
    {"attach root", AttachRoot},                 // overlay, made by the launcher from descriptors
    {"attach proc", AttachProc},                 // must be made by a member of the new pid namespace
    {"attach dev", AttachDev},                   // onto directories of ours: no name of the image is walked
    {"attach tmp and sys", AttachTmpAndSys},
    {"write sysctls", WriteSysctls},  // of its own namespaces; before they become read-only
    {"bring loopback up", BringLoopbackUp},
    {"mask paths", MaskPaths},  // before pivot, while descriptors are at hand and rights are ours
    {"protect sysctls", ProtectSysctls},
    {"pivot root", PivotRoot},        // after this line the launcher's files cannot be named
    {"verify mounts", VerifyMounts},  // we trust the kernel's answer, not our intention
    {"set host name", SetHostName},   // needs power over a namespace of the host's user namespace
    {"open standard input", OpenStandardInput},
    {"set resource limits", SetResourceLimits},    // raising needs the rights that the next step gives up
    {"enter user namespace", EnterUserNamespace},  // last step with rights on the host
    {"lock securebits", LockSecurebits},           // this and the next need CAP_SETPCAP
    {"empty bounding set", EmptyBoundingSet},
    {"become root inside", BecomeRootInside},  // groups first: that needs CAP_SETGID
    {kMakeWorkingDirectoryStep, MakeWorkingDirectory},
    {"become job user", BecomeJobUser},                   // clears the parent-death signal: set again below
    {"join new keyring", JoinNewSessionKeyring},          // after the ids, whose it is to be
    {"drop capabilities", DropCapabilities},              // the locked securebits keep them through the change of ids
    {kEnterWorkingDirectoryStep, EnterWorkingDirectory},  // as the job: as root the check would lie
    {"watch launcher", WatchLauncher},
    {"set no new privileges", SetNoNewPrivileges},
    {"arrange descriptors", ArrangeChildDescriptors},  // the net that counts: steps above opened some
    {"limit descriptors", LimitDescriptors},           // opens no more; lowering needs no right
    {"install seccomp", InstallSeccomp},               // last: it forbids what the steps above need
    {"exec init", ExecInit},
};
static_assert(std::size(kSteps) <= kMaxChildSteps);

CAISSON_BARE uint64_t NowMicros() {
  timespec now{};
  raw::Call(__NR_clock_gettime, CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

std::span<const ChildStep> ChildSteps() { return kSteps; }

CAISSON_BARE void RunChildSteps(void* argument) {
  ChildContext& context = *static_cast<ChildContext*>(argument);
  uint64_t before = NowMicros();
  for (uint32_t i = 0; i < context.steps.size(); ++i) {
    context.step = i;
    const long error = context.steps[i].run(context);
    if (error != 0) {
      context.error = error;
      for (;;) raw::Call(__NR_exit_group, 1);
    }
    const uint64_t after = NowMicros();
    context.micros[i] = static_cast<uint32_t>(after - before);
    before = after;
  }
  __builtin_unreachable();
}

CAISSON_BARE long ExpectMount(ChildContext& context, const char* path, const char* type, const char* flags) {
  if (context.mount_count == kMaxMounts) return -ENOSPC;
  context.mounts[context.mount_count++] = ExpectedMount{path, type, flags};
  return 0;
}

}  // namespace caisson::sandbox
