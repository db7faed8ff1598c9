// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/resource_limits.h"

#include <sys/capability.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace caisson::sandbox {
namespace {

struct FreeCapabilities {
  void operator()(cap_t capabilities) const { ::cap_free(capabilities); }
};

bool MayRaise() {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCapabilities> own(::cap_get_proc());
  cap_flag_value_t value = CAP_CLEAR;
  return own && ::cap_get_flag(own.get(), CAP_SYS_RESOURCE, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

constexpr rlimit Both(rlim_t value) { return rlimit{value, value}; }

}  // namespace

Result<ResourceLimits> JobResourceLimits(const Limits& limits, uint32_t unenforced) {
  ResourceLimits wanted;
  wanted.fill(Both(RLIM_INFINITY));  // CPU, RSS, LOCKS; AS too, which would break Go, the JVM and sanitizers
  // Against sparse giants. Not the scratch space's size: that is the file system's, whose full disk answers ENOSPC
  // where this would kill by SIGXFSZ, and memfd and shm files may be as large as the memory.
  wanted[RLIMIT_FSIZE] = Both(limits.memory_bytes + 4096);
  if ((unenforced & kUnenforcedMemory) != 0) wanted[RLIMIT_DATA] = Both(limits.memory_bytes);  // of each process
  wanted[RLIMIT_STACK] = rlimit{8 << 20, 64 << 20};
  wanted[RLIMIT_CORE] = Both(1);  // not 0: only 1 keeps the kernel from starting a core handler on the host
  wanted[RLIMIT_NPROC] = Both(rlim_t{limits.pids} + 1);  // second line behind pids.max; pid 1 counts
  wanted[RLIMIT_NOFILE] = rlimit{1024, 65536};           // the soft one for users of select(2)
  wanted[RLIMIT_MEMLOCK] = Both(8 << 20);
  wanted[RLIMIT_SIGPENDING] = Both(1024);
  wanted[RLIMIT_MSGQUEUE] = Both(819'200);
  wanted[RLIMIT_NICE] = Both(0);
  wanted[RLIMIT_RTPRIO] = Both(0);
  wanted[RLIMIT_RTTIME] = Both(0);
  if (MayRaise()) return wanted;
  for (size_t i = 0; i < wanted.size(); ++i) {
    rlimit own{};
    if (::getrlimit(static_cast<__rlimit_resource>(i), &own) != 0) return FailErrno(errno, "read resource limit {}", i);
    wanted[i].rlim_max = std::min(wanted[i].rlim_max, own.rlim_max);
    wanted[i].rlim_cur = std::min(wanted[i].rlim_cur, wanted[i].rlim_max);
  }
  return wanted;
}

}  // namespace caisson::sandbox
