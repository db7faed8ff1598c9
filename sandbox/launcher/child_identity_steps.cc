// SPDX-License-Identifier: Apache-2.0
// Steps of a sandbox's first process that take its rights away: see child.h for what they may do. Each acts, then
// asks the kernel whether it is so.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/stat.h>

#include <cerrno>

#include "sandbox/launcher/child.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

// NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, and KEEP_CAPS locked at 0.
constexpr unsigned long kSecurebits = 0xef;
constexpr unsigned kCapabilities = 64;  // more than any kernel has; the first unknown one answers EINVAL
constexpr int kOpenTries = 16;          // openat2 may answer EAGAIN beside renames
constexpr size_t kPathBytes = 4096;

CAISSON_BARE long OpenDirectory(long at, const char* path, uint64_t resolve) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS | resolve;
  long result = -EAGAIN;
  for (int tries = 0; tries < kOpenTries && result == -EAGAIN; ++tries) {
    result = Call(__NR_openat2, at, path, &how, sizeof how);
  }
  return result;
}

CAISSON_BARE long OpenInRoot(const char* path) { return OpenDirectory(AT_FDCWD, path, RESOLVE_IN_ROOT); }

// The directory `name` in `parent`, made where it is missing. A link there may lead anywhere beneath our root, which is
// the job's since the pivot.
CAISSON_BARE long OpenOrMake(long parent, const char* name) {
  const long there = OpenDirectory(parent, name, 0);
  if (there != -ENOENT) return there;
  if (const long error = Call(__NR_mkdirat, parent, name, 0755); error != 0) return error;
  return OpenDirectory(parent, name, 0);
}

}  // namespace

CAISSON_BARE long EnterUserNamespace(ChildContext& context) {
  return Call(__NR_setns, context.user_namespace, CLONE_NEWUSER);
}

CAISSON_BARE long LockSecurebits(ChildContext&) {
  if (const long error = Call(__NR_prctl, PR_SET_SECUREBITS, kSecurebits, 0, 0, 0); error != 0) return error;
  if (Call(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0) != static_cast<long>(kSecurebits)) return -EPERM;
  return Call(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

CAISSON_BARE long EmptyBoundingSet(ChildContext&) {
  for (unsigned capability = 0; capability < kCapabilities; ++capability) {
    const long error = Call(__NR_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (error == -EINVAL && capability > CAP_SETPCAP) return 0;
    if (error != 0) return error;
  }
  return 0;
}

CAISSON_BARE long BecomeRootInside(ChildContext& context) {
  if (const long error = Call(__NR_setgroups, context.groups.size(), context.groups.data()); error != 0) return error;
  if (const long error = Call(__NR_setresgid, 0, 0, 0); error != 0) return error;
  return Call(__NR_setresuid, 0, 0, 0);
}

// As the job's root, whose power ends at the job's own files. Whatever links the image has are resolved beneath its
// root, and none that the kernel makes up. From directory to directory, so that no link is walked twice: the launcher
// waits for us, and an image can make one component cost tens of thousands of look-ups.
CAISSON_BARE long MakeWorkingDirectory(ChildContext& context) {
  char name[kPathBytes];
  long directory = OpenInRoot("/");
  for (const char* at = context.working_dir; directory >= 0;) {
    while (*at == '/') ++at;
    if (*at == '\0') return Call(__NR_close, directory);
    size_t length = 0;
    while (*at != '\0' && *at != '/') name[length++] = *at++;
    name[length] = '\0';
    const long parent = directory;
    directory = OpenOrMake(parent, name);
    Call(__NR_close, parent);
  }
  return directory;
}

CAISSON_BARE long BecomeJobUser(ChildContext& context) {
  if (const long error = Call(__NR_setresgid, context.gid, context.gid, context.gid); error != 0) return error;
  if (const long error = Call(__NR_setresuid, context.uid, context.uid, context.uid); error != 0) return error;
  if (Call(__NR_getuid) != static_cast<long>(context.uid) || Call(__NR_geteuid) != static_cast<long>(context.uid) ||
      Call(__NR_getgid) != static_cast<long>(context.gid) || Call(__NR_getegid) != static_cast<long>(context.gid)) {
    return -EPERM;
  }
  return 0;
}

// So that the launcher's session keyring is nobody's inside. A kernel without keyrings has none to leave.
CAISSON_BARE long JoinNewSessionKeyring(ChildContext&) {
  const long keyring = Call(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0);
  return keyring >= 0 || keyring == -ENOSYS ? 0 : keyring;
}

CAISSON_BARE long DropCapabilities(ChildContext&) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  if (const long error = Call(__NR_capset, &header, none); error != 0) return error;
  __user_cap_data_struct left[2] = {};
  if (const long error = Call(__NR_capget, &header, left); error != 0) return error;
  for (const __user_cap_data_struct& half : left) {
    if ((half.effective | half.permitted | half.inheritable) != 0) return -EPERM;
  }
  for (unsigned capability = 0; capability < kCapabilities; ++capability) {
    const long held = Call(__NR_prctl, PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held == -EINVAL) break;
    if (held != 0) return -EPERM;
  }
  return 0;
}

// A directory that the root does not reach is no place to be: getcwd() says so.
CAISSON_BARE long EnterWorkingDirectory(ChildContext& context) {
  const long directory = OpenInRoot(context.working_dir);
  if (directory < 0) return directory;
  const long error = Call(__NR_fchdir, directory);
  Call(__NR_close, directory);
  if (error != 0) return error;
  char path[kPathBytes];
  const long length = Call(__NR_getcwd, path, sizeof path);
  if (length < 0) return length;
  return path[0] == '/' ? 0 : -ENOENT;
}

CAISSON_BARE long SetNoNewPrivileges(ChildContext&) {
  if (const long error = Call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); error != 0) return error;
  return Call(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EPERM;
}

}  // namespace caisson::sandbox
