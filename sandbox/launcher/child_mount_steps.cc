// SPDX-License-Identifier: Apache-2.0
// Steps of a sandbox's first process that build what it sees: see child.h for what they may do. Sources and targets
// are descriptors; every target is an inode that the launcher made (upper.h) or procfs, so no path of the image is
// walked while there are rights on the host.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>

#include "sandbox/launcher/child.h"
#include "sandbox/launcher/lean_root.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

constexpr long kProcMagic = 0x9fa0;
constexpr char kProcPrefix[] = "/proc/";
constexpr size_t kProcPrefixLength = sizeof kProcPrefix - 1;

// What tells about the host or acts on it; the list of the large container engines and our own. Files become a null
// device of ours, directories an empty one.
constexpr const char* kMaskedPaths[] = {
    "/proc/acpi",         "/proc/asound",      "/proc/bus",         "/proc/config.gz",     "/proc/dma",
    "/proc/fs",           "/proc/interrupts",  "/proc/iomem",       "/proc/ioports",       "/proc/irq",
    "/proc/kallsyms",     "/proc/kcore",       "/proc/key-users",   "/proc/keys",          "/proc/kmsg",
    "/proc/kpagecgroup",  "/proc/kpagecount",  "/proc/kpageflags",  "/proc/latency_stats", "/proc/modules",
    "/proc/pagetypeinfo", "/proc/sched_debug", "/proc/scsi",        "/proc/slabinfo",      "/proc/sysrq-trigger",
    "/proc/timer_list",   "/proc/timer_stats", "/proc/vmallocinfo",
};

CAISSON_BARE long OpenBeneath(int directory, const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return Call(__NR_openat2, directory, path, &how, sizeof how);
}

CAISSON_BARE long MoveOnto(long mount, long target) {
  return Call(__NR_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

// Attaches `mount` at `path` (in the job's root, with its leading slash) and notes what the mount table must say.
CAISSON_BARE long AttachBelow(ChildContext& context, int directory, const char* name, long mount,
                              const ExpectedMount& expected) {
  const long target = OpenBeneath(directory, name, O_PATH | O_DIRECTORY);
  if (target < 0) return target;
  const long error = MoveOnto(mount, target);
  Call(__NR_close, target);
  return error != 0 ? error : ExpectMount(context, expected.path, expected.type, expected.flags);
}

CAISSON_BARE long CloneOf(int directory, const char* name) {
  return Call(__NR_open_tree, directory, name,
              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0));
}

// That what hides a file is the null device, and not something that was put in its place.
CAISSON_BARE long CheckNull(long descriptor) {
  struct stat info {};
  if (const long error = Call(__NR_fstat, descriptor, &info); error != 0) return error;
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3) ? 0 : -ENODEV;
}

CAISSON_BARE long MaskPath(ChildContext& context, const char* path) {
  const long target = OpenBeneath(context.proc, path + kProcPrefixLength, O_PATH);
  if (target == -ENOENT) return 0;  // this kernel does not have it: the only reason to skip
  if (target < 0) return target;
  struct stat info {};
  long error = Call(__NR_fstat, target, &info);
  const bool directory = S_ISDIR(info.st_mode);
  const long mask = error != 0 ? error : directory ? CloneOf(context.empty, "") : CloneOf(context.dev, "null");
  error = mask < 0 ? mask : directory ? 0 : CheckNull(mask);
  if (error == 0) error = MoveOnto(mask, target);
  if (mask >= 0) Call(__NR_close, mask);
  Call(__NR_close, target);
  return error != 0 ? error : ExpectMount(context, path, "tmpfs", "ro,nosuid,noexec");
}

CAISSON_BARE long WriteSysctl(int proc, const SysctlValue& sysctl) {
  const long file = OpenBeneath(proc, sysctl.file, O_WRONLY);
  if (file == -ENOENT) return 0;  // a kernel without that feature
  if (file < 0) return file;
  long length = 0;
  while (sysctl.value[length] != '\0') ++length;
  const long written = Call(__NR_write, file, sysctl.value, length);
  Call(__NR_close, file);
  return written < 0 ? written : 0;
}

}  // namespace

CAISSON_BARE long MakeMountsPrivate(ChildContext&) {
  return Call(__NR_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

CAISSON_BARE long AttachRoot(ChildContext& context) {
  const long error = Call(__NR_move_mount, context.root, "", AT_FDCWD, kJobRootPath, MOVE_MOUNT_F_EMPTY_PATH);
  return error != 0 ? error : ExpectMount(context, "/", "overlay", "nosuid,nodev");
}

CAISSON_BARE long AttachProc(ChildContext& context) {
  const long made = Call(__NR_fsopen, "proc", FSOPEN_CLOEXEC);
  if (made < 0) return made;
  long error = Call(__NR_fsconfig, made, FSCONFIG_SET_STRING, "hidepid", "invisible", 0);
  if (error == 0) error = Call(__NR_fsconfig, made, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  if (error == 0) {
    context.proc = static_cast<int>(
        Call(__NR_fsmount, made, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    if (context.proc < 0) error = context.proc;
  }
  Call(__NR_close, made);
  if (error != 0) return error;
  struct statfs info {};
  if (error = Call(__NR_fstatfs, context.proc, &info); error != 0) return error;
  if (info.f_type != kProcMagic) return -ENODEV;
  return AttachBelow(context, context.root, "proc", context.proc, {"/proc", "proc", "rw,nosuid,nodev,noexec"});
}

CAISSON_BARE long AttachDev(ChildContext& context) {
  const long error = AttachBelow(context, context.root, "dev", context.dev, {"/dev", "tmpfs", "ro,nosuid,noexec"});
  if (error != 0) return error;
  return AttachBelow(context, context.dev, "shm", context.shm, {"/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec"});
}

CAISSON_BARE long AttachTmpAndSys(ChildContext& context) {
  const long error = AttachBelow(context, context.root, "tmp", context.tmp, {"/tmp", "tmpfs", "rw,nosuid,nodev"});
  if (error != 0) return error;
  return AttachBelow(context, context.root, "sys", context.empty, {"/sys", "tmpfs", "ro,nosuid,nodev,noexec"});
}

// Their tables are those of the namespaces of whoever opens them: ours, new ones.
CAISSON_BARE long WriteSysctls(ChildContext& context) {
  for (const SysctlValue& sysctl : context.sysctls) {
    if (const long error = WriteSysctl(context.proc, sysctl); error != 0) return error;
  }
  return 0;
}

CAISSON_BARE long MaskPaths(ChildContext& context) {
  for (const char* path : kMaskedPaths) {
    if (const long error = MaskPath(context, path); error != 0) return error;
  }
  return 0;
}

CAISSON_BARE long ProtectSysctls(ChildContext& context) {
  const long target = OpenBeneath(context.proc, "sys", O_PATH | O_DIRECTORY);
  if (target < 0) return target;
  const long clone = CloneOf(static_cast<int>(target), "");
  if (clone < 0) return clone;
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_RDONLY;  // a bind ignores new flags: they need a step of their own
  long error = Call(__NR_mount_setattr, clone, "", AT_EMPTY_PATH, &change, sizeof change);
  if (error == 0) error = MoveOnto(clone, target);
  Call(__NR_close, clone);
  Call(__NR_close, target);
  return error != 0 ? error : ExpectMount(context, "/proc/sys", "proc", "ro,nosuid,nodev,noexec");
}

// No chroot, which would leave the old tree within reach.
CAISSON_BARE long PivotRoot(ChildContext& context) {
  if (const long error = Call(__NR_fchdir, context.root); error != 0) return error;
  if (const long error = Call(__NR_pivot_root, ".", "."); error != 0) return error;
  if (const long error = Call(__NR_umount2, ".", MNT_DETACH); error != 0) return error;
  return Call(__NR_chdir, "/");
}

}  // namespace caisson::sandbox
