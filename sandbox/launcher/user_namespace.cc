// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/user_namespace.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/bare_clone.h"
#include "sandbox/launcher/mount_api.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

struct NamespaceLimit {
  const char* file;  // beneath /proc
  const char* value;
  bool for_workers;  // false: only in a job's namespace
};

// Without them one job takes the host's inotify instances, since those are charged up to the launcher's uid; and
// none of its own namespaces could be made even if the system call filter failed. Files that a kernel lacks are
// skipped: then the thing they bound does not exist there.
constexpr NamespaceLimit kNamespaceLimits[] = {
    {"sys/user/max_user_namespaces", "0", true},    {"sys/user/max_pid_namespaces", "0", false},
    {"sys/user/max_uts_namespaces", "0", false},    {"sys/user/max_ipc_namespaces", "0", false},
    {"sys/user/max_net_namespaces", "0", false},    {"sys/user/max_mnt_namespaces", "0", false},
    {"sys/user/max_cgroup_namespaces", "0", false}, {"sys/user/max_time_namespaces", "0", true},
    {"sys/user/max_inotify_instances", "16", true}, {"sys/user/max_inotify_watches", "8192", true},
    {"sys/user/max_fanotify_groups", "0", true},    {"sys/user/max_fanotify_marks", "0", true},
};

struct ResourceCeiling {
  int resource;
  rlim_t value;
};

// The limits of the task that makes a user namespace are the ceilings of all in it together.
constexpr ResourceCeiling kCeilings[] = {
    {RLIMIT_MSGQUEUE, 819'200}, {RLIMIT_SIGPENDING, 1024}, {RLIMIT_MEMLOCK, 8 << 20}};

// Shared with the helper, which runs in our memory beside us: hence volatile words and no library calls there.
struct Helper {
  int proc_dir;
  bool for_worker;
  pid_t launcher;
  int done_write;       // end of file for us when the helper has closed it
  volatile long error;  // negative errno
  volatile bool finished;
};

CAISSON_BARE long WriteSysctl(int proc_dir, const char* file, const char* value) {
  long length = 0;
  while (value[length] != '\0') ++length;
  const long fd = Call(__NR_openat, proc_dir, file, O_WRONLY | O_CLOEXEC, 0);
  if (fd == -ENOENT) return 0;
  if (fd < 0) return fd;
  const long written = Call(__NR_write, fd, value, length);
  Call(__NR_close, fd);
  return written == length ? 0 : written < 0 ? written : -EIO;
}

CAISSON_BARE long FurnishNamespace(const Helper& helper) {
  for (const ResourceCeiling& ceiling : kCeilings) {
    rlimit64 now{};
    if (const long error = Call(__NR_prlimit64, 0, ceiling.resource, nullptr, &now); error != 0) return error;
    const rlim64_t value = now.rlim_max < ceiling.value ? now.rlim_max : ceiling.value;
    const rlimit64 wanted{value, value};
    if (const long error = Call(__NR_prlimit64, 0, ceiling.resource, &wanted, nullptr); error != 0) return error;
  }
  if (const long error = Call(__NR_unshare, CLONE_NEWUSER); error != 0) return error;
  for (const NamespaceLimit& limit : kNamespaceLimits) {
    if (helper.for_worker && !limit.for_workers) continue;
    if (const long error = WriteSysctl(helper.proc_dir, limit.file, limit.value); error != 0) return error;
  }
  return 0;
}

// Makes the namespace and its limits (the table of sysctls is that of the opener's user namespace), then stays for
// the maps, which only we outside may write.
CAISSON_BARE void RunHelper(void* argument) {
  Helper& helper = *static_cast<Helper*>(argument);
  Call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // A launcher that was killed before that line is not noticed by it, and the descriptors we hold are its locks.
  if (Call(__NR_getppid) != helper.launcher) Call(__NR_exit_group, 1);
  helper.error = FurnishNamespace(helper);
  helper.finished = true;
  Call(__NR_close, helper.done_write);
  for (;;) Call(__NR_pause);
}

Result<void> WriteMap(int proc_dir, pid_t pid, const char* name, const std::string& map) {
  const Fd file = TRY(OpenAt(proc_dir, fmt::format("{}/{}", pid, name), O_WRONLY));
  if (::write(file.get(), map.data(), map.size()) != static_cast<ssize_t>(map.size())) {  // in one write, or refused
    return FailErrno(errno, "write {} \"{}\"", name, map);
  }
  return {};
}

Result<Fd> MapAndOpen(int proc_dir, pid_t pid, const IdRange& ids) {
  const std::string map = fmt::format("0 {} {}", ids.base(), kIdsPerRange);
  TRY(WriteMap(proc_dir, pid, "uid_map", map));
  TRY(WriteMap(proc_dir, pid, "gid_map", map));
  return OpenAt(proc_dir, fmt::format("{}/ns/user", pid), O_RDONLY);
}

Result<Fd> AwaitAndMap(Helper& helper, Pipe& done, const BareChild& child, int proc_dir, const IdRange& ids) {
  done.write.reset();
  pollfd events[2] = {{done.read.get(), POLLIN, 0}, {child.pidfd.get(), POLLIN, 0}};
  while (::poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  if (!helper.finished) return Fail(ErrorCode::kInternal, "the helper of a user namespace was killed");
  if (helper.error != 0) return FailErrno(static_cast<int>(-helper.error), "prepare a user namespace");
  return MapAndOpen(proc_dir, child.pid, ids);
}

}  // namespace

Result<Fd> PrepareUserNamespace(const IdRange& ids, const Environment& environment, bool for_worker) {
  Pipe done = TRY(MakePipe());
  Helper helper{environment.root.proc_dir.get(), for_worker, ::getpid(), done.write.get(), 0, false};
  alignas(16) char stack[kBareStackBytes];
  BareChild child = TRY_IN("helper of a user namespace", StartBareChild({CLONE_VM}, stack, RunHelper, &helper));
  Result<Fd> prepared = AwaitAndMap(helper, done, child, environment.root.proc_dir.get(), ids);
  ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);
  siginfo_t info{};
  while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED) != 0 && errno == EINTR) {
  }
  return prepared;
}

Result<Fd> CloneIdmapped(int directory, int user_namespace, bool read_only) {
  Fd clone = TRY(CloneMount(directory));
  const uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0);
  TRY(AddMountAttributes(clone.get(), attributes, user_namespace));
  return clone;
}

}  // namespace caisson::sandbox
