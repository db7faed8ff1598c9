// SPDX-License-Identifier: Apache-2.0
#include "image/worker/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

// CHOWN and FSETID: files get the image's owners and keep their set-id bits. DAC_OVERRIDE and FOWNER: files and
// directories that are not ours any more, or have no mode bits, are still filled, linked and removed.
constexpr uint64_t kKeptCapabilities =
    1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID;

constexpr uint64_t kMemoryBytes =
    2ull << 30;                         // zstd's window, libarchive, kMaxRememberedBytes and what they cost in maps
constexpr rlim_t kDescriptors = 65536;  // merge holds one a layer and directory level

Result<void> ClearUmask() {
  ::umask(0);
  return {};
}

Result<void> CloseDescriptors() {
  if (::syscall(SYS_close_range, 3, ~0u, 0) != 0) return FailErrno(errno, "close_range");
  return {};
}

// The working directory becomes the root, and the host's tree is gone: after this no host file has a name.
Result<void> PivotRoot() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno(errno, "make mounts private");
  // A clone: the original may be locked, or no mount point at all, and pivot_root takes neither.
  const Fd tree(
      static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!tree) return FailErrno(errno, "open_tree");
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return FailErrno(errno, "move_mount");
  if (::fchdir(tree.get()) != 0) return FailErrno(errno, "fchdir");
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return FailErrno(errno, "pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return FailErrno(errno, "detach the old root");
  if (::chdir("/") != 0) return FailErrno(errno, "chdir");
  return {};
}

Result<void> SetLimit(__rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return FailErrno(errno, "getrlimit {}", static_cast<int>(resource));
  limit.rlim_cur = limit.rlim_max = std::min(value, limit.rlim_max);
  if (::setrlimit(resource, &limit) != 0) return FailErrno(errno, "setrlimit {}", static_cast<int>(resource));
  return {};
}

Result<void> SetLimits() {
  TRY(SetLimit(RLIMIT_CORE, 1));  // 0 would not stop a core handler that is a program (core(5))
  TRY(SetLimit(RLIMIT_NOFILE, kDescriptors));
  TRY(SetLimit(RLIMIT_FSIZE, kMaxUnpackedBytes));
#if !defined(__SANITIZE_ADDRESS__)  // its shadow memory counts
  TRY(SetLimit(RLIMIT_DATA, kMemoryBytes));
#endif
  return {};
}

Result<void> DropCapabilities() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return FailErrno(errno, "drop capability {} from the bounding set", capability);
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return FailErrno(errno, "clear ambient capabilities");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].effective = data[0].permitted = static_cast<uint32_t>(kKeptCapabilities);
  if (::syscall(SYS_capset, &header, data) != 0) return FailErrno(errno, "capset");
  return {};
}

Result<void> SetNoNewPrivileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno(errno, "no_new_privs");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FailErrno(errno, "dumpable");
  return {};
}

// What unpacking, merging and removing call, and what libc needs for memory, locks and an abort.
constexpr int kAllowedCalls[] = {
    // streams
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(lseek),
    SCMP_SYS(close),
    // files and directories, by descriptor
    SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(symlinkat), SCMP_SYS(linkat), SCMP_SYS(unlinkat),
    SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(fchown), SCMP_SYS(fchownat), SCMP_SYS(fchmod), SCMP_SYS(utimensat), SCMP_SYS(fsetxattr),
    SCMP_SYS(fgetxattr), SCMP_SYS(flistxattr), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(sync_file_range),
    SCMP_SYS(fcntl),
    // between the threads of an unpacking
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    // memory and threads of libc
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(getpid), SCMP_SYS(gettid),
    SCMP_SYS(tgkill), SCMP_SYS(capget), SCMP_SYS(exit), SCMP_SYS(exit_group)};

// libseccomp gives the negative errno back and leaves errno alone.
Result<void> CheckSeccomp(int result, std::string_view what) {
  if (result < 0) return FailErrno(-result, "seccomp: {}", what);
  return {};
}

Result<void> InstallSeccomp() {
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  const std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return Fail(ErrorCode::kInternal, "seccomp: no memory");
  for (const int call : kAllowedCalls)
    TRY(CheckSeccomp(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0), "allow a call"));
  // Memory that can be written never becomes code.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    TRY(CheckSeccomp(
        ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
        "allow memory"));
  // Threads, as pthread_create asks for them, and no process: a child could outlive its parent's report. clone3 hides
  // its flags from a filter; without it libc takes clone.
  constexpr uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                               CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  TRY(CheckSeccomp(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_EQ, kThread)),
                   "allow threads"));
  TRY(CheckSeccomp(::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "deny clone3"));
  // A FIFO, or overlayfs' whiteout: 0:0 is no device.
  TRY(CheckSeccomp(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1,
                                      SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO)),
                   "allow FIFOs"));
  TRY(CheckSeccomp(
      ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 2,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFCHR), SCMP_A3(SCMP_CMP_MASKED_EQ, 0xffffffff, 0)),
      "allow whiteouts"));
  return CheckSeccomp(::seccomp_load(filter.get()), "load");
}

// The kernel's word, not our intention.
Result<void> VerifyConfinement() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return FailErrno(errno, "capget");
  const uint64_t permitted = data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
  const uint64_t inheritable = data[0].inheritable | static_cast<uint64_t>(data[1].inheritable) << 32;
  if (permitted != kKeptCapabilities || inheritable != 0)
    return Fail(ErrorCode::kInternal, "capabilities are left: {:#x}", permitted);
  if (::socket(AF_UNIX, SOCK_STREAM, 0) != -1 || errno != EPERM)
    return Fail(ErrorCode::kInternal, "the system call filter does not act");
  struct stat root {
  }, parent{};
  if (::fstatat(AT_FDCWD, "/", &root, 0) != 0 || ::fstatat(AT_FDCWD, "/..", &parent, 0) != 0)
    return FailErrno(errno, "stat the root");
  if (root.st_dev != parent.st_dev || root.st_ino != parent.st_ino)
    return Fail(ErrorCode::kInternal, "the root has a parent");
  struct stat proc {};
  if (::fstatat(AT_FDCWD, "/proc", &proc, AT_SYMLINK_NOFOLLOW) == 0)
    return Fail(ErrorCode::kInternal, "the host's root is still there");
  return {};
}

struct Step {
  const char* name;
  Result<void> (*run)();
};
constexpr Step kSteps[] = {
    {"clear umask", ClearUmask},  // modes come from the image
    {"close descriptors", CloseDescriptors},
    {"pivot root", PivotRoot},
    {"set limits", SetLimits},                // raising to the hard limit needs no right, lowering cannot be undone
    {"drop capabilities", DropCapabilities},  // the bounding set first: that needs one of them
    {"no new privileges", SetNoNewPrivileges},
    {"install seccomp", InstallSeccomp},  // last: it forbids what the steps above need
    {"verify", VerifyConfinement},
};

}  // namespace

Result<void> ConfineWorker() {
  for (const Step& step : kSteps) TRY_IN(step.name, step.run());
  return {};
}

}  // namespace caisson::image
