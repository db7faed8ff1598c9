// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/lean_root.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/mount_api.h"

namespace caisson::sandbox {
namespace {

Result<void> MakeDirectory(const char* path, mode_t mode) {
  if (::mkdir(path, mode) != 0) return FailErrno(errno, "make {} in the launcher's root", path);
  return {};
}

// What is in layers/ is trusted to be what a worker put there: nobody else may get in.
Result<Fd> OpenPrivate(int data_dir, const char* name) {
  if (::mkdirat(data_dir, name, 0700) != 0 && errno != EEXIST)
    return FailErrno(errno, "make {} in the data directory", name);
  Fd directory = TRY(OpenAt(data_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat info {};
  if (::fstat(directory.get(), &info) != 0) return FailErrno(errno, "stat {}", name);
  if (info.st_uid != 0 || (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kDenied, "{} in the data directory must belong to root and be closed to others (mode 0700)",
                name);
  }
  return directory;
}

// A mount of its own, so that pivot_root takes it, put on top of any directory for the moment: the data directory's.
Result<void> PivotInto(int root, const std::string& where) {
  TRY(AttachMount(root, where.c_str()));
  if (::fchdir(root) != 0) return FailErrno(errno, "enter the launcher's root");
  if (::syscall(SYS_pivot_root, ".", ".") != 0) {
    return FailErrno(errno, "pivot into the launcher's root (on an initial ramfs this is impossible: mount a root)");
  }
  if (::umount2(".", MNT_DETACH) != 0) return FailErrno(errno, "leave the host's mounts");
  if (::chdir("/") != 0) return FailErrno(errno, "enter the launcher's root");
  return {};
}

Result<void> Furnish(int data_mount) {
  TRY(MakeDirectory("/data", 0755));
  TRY(MakeDirectory("/proc", 0555));
  TRY(MakeDirectory(kAssemblyPath, 0700));
  TRY(MakeDirectory(kJobRootPath, 0755));
  TRY(AttachMount(data_mount, "/data"));
  const uint64_t inert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const Fd proc = TRY(MakeMount("proc", {}, inert));
  TRY(AttachMount(proc.get(), "/proc"));
  const Fd assembly = TRY(MakeMount("tmpfs", {{"size", "64k"}, {"mode", "0700"}}, inert));
  return AttachMount(assembly.get(), kAssemblyPath);
}

}  // namespace

Result<LeanRoot> EnterLeanRoot(const std::string& data_dir) {
  LeanRoot root;
  root.host_mount_namespace = TRY(OpenAt(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY));
  // Copied here: in the new namespace it would be a mount of another one, which cannot be copied.
  const Fd data = TRY(CloneMount(AT_FDCWD, data_dir));
  TRY_IN(data_dir, AddMountAttributes(data.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno(errno, "make a mount namespace");
  // Before the first mount, or it would show on the host: its root is shared under systemd.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno(errno, "make mounts private");
  const Fd lean = TRY(MakeMount("tmpfs", {{"size", "64k"}, {"mode", "0755"}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  TRY(PivotInto(lean.get(), data_dir));
  TRY(Furnish(data.get()));
  TRY(AddMountAttributes(lean.get(), MOUNT_ATTR_RDONLY));

  root.data_dir = TRY(OpenAt(AT_FDCWD, "/data", O_RDONLY | O_DIRECTORY));
  root.layers_dir = TRY(OpenPrivate(root.data_dir.get(), "layers"));
  root.tmp_dir = TRY(OpenPrivate(root.data_dir.get(), "tmp"));
  root.assembly_dir = TRY(OpenAt(AT_FDCWD, kAssemblyPath, O_RDONLY | O_DIRECTORY));
  root.proc_dir = TRY(OpenAt(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY));
  return root;
}

}  // namespace caisson::sandbox
