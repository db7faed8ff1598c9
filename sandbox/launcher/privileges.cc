// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/privileges.h"

#include <dirent.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

namespace caisson::sandbox {
namespace {

struct Kept {
  cap_value_t capability;
  const char* why;
};
constexpr Kept kKept[] = {
    {CAP_SYS_ADMIN, "mounts, namespaces, trusted.overlay attributes"},
    {CAP_SYS_CHROOT, "setns into a mount namespace"},
    {CAP_SETUID, "id maps; to become the service, a job"},
    {CAP_SETGID, "the same for groups"},
    {CAP_SETPCAP, "to empty the bounding sets of children"},
    {CAP_CHOWN, "overlay copies up with the mounter's rights"},
    {CAP_FOWNER, "the same"},
    {CAP_FSETID, "the same, for set-id bits"},
    {CAP_DAC_OVERRIDE, "the same, and removal of layers with closed directories"},
    {CAP_MKNOD, "the nodes of each job's /dev"},
    {CAP_KILL, "to end what runs under other ids"},
    {CAP_NET_ADMIN, "to bring a job's loopback up"},
    {CAP_SYS_PTRACE, "namespaces of children by /proc"},
    {CAP_SYS_RESOURCE, "limits above our own, the floor of oom_score_adj; kept where it is there"},
};

using Capabilities = std::unique_ptr<_cap_struct, int (*)(void*)>;

bool IsKept(cap_value_t capability) {
  return std::any_of(std::begin(kKept), std::end(kKept),
                     [&](const Kept& kept) { return kept.capability == capability; });
}

Result<void> CutBoundingSet(bool keep_ours) {
  for (cap_value_t capability = 0; capability <= cap_max_bits() - 1; ++capability) {
    if ((keep_ours && IsKept(capability)) || ::cap_get_bound(capability) <= 0) continue;
    if (::cap_drop_bound(capability) != 0) return FailErrno(errno, "drop capability {} for good", capability);
  }
  return {};
}

}  // namespace

Result<void> KeepLauncherCapabilities() {
  TRY(CutBoundingSet(/*keep_ours=*/true));
  const Capabilities now(::cap_get_proc(), ::cap_free);
  const Capabilities wanted(::cap_init(), ::cap_free);
  if (!now || !wanted) return FailErrno(errno, "read capabilities");
  for (const Kept& kept : kKept) {
    cap_flag_value_t has = CAP_CLEAR;
    ::cap_get_flag(now.get(), kept.capability, CAP_PERMITTED, &has);
    if (has == CAP_CLEAR) continue;
    ::cap_set_flag(wanted.get(), CAP_PERMITTED, 1, &kept.capability, CAP_SET);
    ::cap_set_flag(wanted.get(), CAP_EFFECTIVE, 1, &kept.capability, CAP_SET);
  }
  if (::cap_set_proc(wanted.get()) != 0) return FailErrno(errno, "cut capabilities");
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return FailErrno(errno, "become non-dumpable");
  return {};
}

Result<void> DropAllPrivileges(uid_t uid, gid_t gid) {
  TRY(CutBoundingSet(/*keep_ours=*/false));
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return FailErrno(errno, "clear ambient set");
  if (::setgroups(0, nullptr) != 0) return FailErrno(errno, "clear groups");
  if (::setresgid(gid, gid, gid) != 0) return FailErrno(errno, "become group {}", gid);
  if (::setresuid(uid, uid, uid) != 0) return FailErrno(errno, "become user {}", uid);
  const Capabilities none(::cap_init(), ::cap_free);
  if (!none || ::cap_set_proc(none.get()) != 0) return FailErrno(errno, "drop capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno(errno, "set no_new_privs");
  const Capabilities left(::cap_get_proc(), ::cap_free);
  if (!left || ::cap_compare(left.get(), none.get()) != 0)
    return Fail(ErrorCode::kInternal, "capabilities are left after dropping them");
  if (::setuid(0) == 0 || ::setgid(0) == 0) return Fail(ErrorCode::kInternal, "could become root again");
  return {};
}

bool IsSingleThreaded() {
  const std::unique_ptr<DIR, int (*)(DIR*)> threads(::opendir("/proc/self/task"), ::closedir);
  int count = 0;
  while (threads) {
    const dirent* entry = ::readdir(threads.get());
    if (entry == nullptr) break;
    if (std::string_view(entry->d_name)[0] != '.') ++count;
  }
  return count == 1;
}

}  // namespace caisson::sandbox
