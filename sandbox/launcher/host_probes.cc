// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/host_probes.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/encoding.h"
#include "base/io.h"
#include "sandbox/launcher/child_process.h"
#include "sandbox/launcher/data_directory.h"
#include "sandbox/launcher/mount_api.h"

#ifndef MFD_EXEC  // newer than Debian 12's headers
#define MFD_EXEC 0x0010U
#endif

namespace caisson::sandbox {
namespace {

constexpr rlim_t kGoodOpenFiles = 65536;

bool HasCapability(cap_value_t capability) {
  cap_t now = ::cap_get_proc();
  cap_flag_value_t has = CAP_CLEAR;
  if (now != nullptr) ::cap_get_flag(now, capability, CAP_EFFECTIVE, &has);
  ::cap_free(now);
  return has == CAP_SET;
}

Check Needed(const char* name, std::string good, const Result<void>& result, std::string fix) {
  if (result) return {name, CheckState::kOk, std::move(good), "", true};
  return {name, CheckState::kMissing, result.error().message, std::move(fix), true};
}

// Starts a child in new namespaces and ends it.
Result<void> TryNamespaces(uint64_t flags) {
  ChildOptions options;
  options.clone_flags = flags;
  const Fd child = TRY(StartChild(options, [] { ::_exit(0); }));
  TRY(ReapChild(child.get()));
  return {};
}

// The user namespace of a process, given a map.
Result<Fd> MapUserNamespace(const std::string& pid) {
  for (const char* map : {"uid_map", "gid_map"}) {
    const Fd file = TRY(OpenAt(AT_FDCWD, "/proc/" + pid + "/" + map, O_WRONLY));
    TRY_IN(map, WriteAll(file.get(), "0 1879048192 65536"));
  }
  return OpenAt(AT_FDCWD, "/proc/" + pid + "/ns/user", O_RDONLY);
}

// Held by a child until the descriptor is taken.
Result<Fd> MakeUserNamespace() {
  ChildOptions options;
  options.clone_flags = CLONE_NEWUSER;
  Pipe hold = TRY(MakePipe());
  const Fd child = TRY(StartChild(options, [&] {
    char byte;
    hold.write.reset();
    (void)!::read(hold.read.get(), &byte, 1);
    ::_exit(0);
  }));
  const std::string info = TRY(ReadFile(fmt::format("/proc/self/fdinfo/{}", child.get()), 4096));
  const size_t at = info.find("Pid:");
  Result<Fd> made = at == std::string::npos ? Fail(ErrorCode::kInternal, "no pid in a pidfd's information")
                                            : MapUserNamespace(std::to_string(std::atoi(info.c_str() + at + 4)));
  hold.write.reset();
  TRY(ReapChild(child.get()));
  return made;
}

// The path itself, or its nearest parent that is there.
Result<Fd> OpenNearest(std::string path) {
  for (;;) {
    Result<Fd> directory = OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY);
    if (directory || path == "/" || path.empty()) return directory;
    path.resize(std::max<size_t>(path.rfind('/'), 1));
  }
}

Result<void> TryIdmap(const std::string& path) {
  const Fd directory = TRY(OpenNearest(path));
  const Fd user_namespace = TRY(MakeUserNamespace());
  const Fd clone = TRY(CloneMount(directory.get()));
  return AddMountAttributes(clone.get(), MOUNT_ATTR_NOSUID, user_namespace.get());
}

// An overlay put together from descriptors of detached mounts; EINVAL on kernels that want them attached.
Result<void> TryDetachedOverlay(int overlay, int lower, int upper) {
  if (::mkdirat(upper, "u", 0755) != 0 || ::mkdirat(upper, "w", 0755) != 0) return FailErrno(errno, "make directories");
  const Fd u = TRY(OpenAt(upper, "u", O_RDONLY | O_DIRECTORY));
  const Fd w = TRY(OpenAt(upper, "w", O_RDONLY | O_DIRECTORY));
  for (const auto& [key, fd] : {std::pair{"lowerdir+", lower}, {"upperdir", u.get()}, {"workdir", w.get()}}) {
    if (::syscall(SYS_fsconfig, overlay, FSCONFIG_SET_FD, key, nullptr, fd) != 0) return FailErrno(errno, "{}", key);
  }
  if (::syscall(SYS_fsconfig, overlay, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return FailErrno(errno, "create");
  return {};
}

}  // namespace

Check ExamineRoot() {
  Result<void> result;
  if (::geteuid() != 0) result = Fail(ErrorCode::kDenied, "not root: what follows could not be tried fully");
  if (result && !HasCapability(CAP_SYS_ADMIN))
    result = Fail(ErrorCode::kDenied, "root without CAP_SYS_ADMIN: inside another container?");
  return Needed("root", "runs as root", result, "run it as root on the host itself");
}

Check ExamineServiceUser(const std::string& user) {
  const Result<ServiceUser> resolved = ResolveServiceUser(user);
  if (resolved)
    return {"service-user", CheckState::kOk, fmt::format("{} is {}:{}", user, resolved->uid, resolved->gid), ""};
  const std::string fix = "useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin " + user;
  return {"service-user", CheckState::kMissing, fmt::format("the service has no user {} to run as", user), fix};
}

Check ExamineNamespaces() {
  constexpr uint64_t kAll = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  return Needed("namespaces", "mount, pid, net, ipc, uts and cgroup namespaces can be made", TryNamespaces(kAll),
                "run on the host itself, with a kernel of 5.19 or later");
}

Check ExamineUserNamespaces() {
  return Needed("user-namespaces", "user namespaces can be made", TryNamespaces(CLONE_NEWUSER),
                "sysctl -w user.max_user_namespaces=65536");
}

Check ExamineIdmappedMounts(const std::string& data_dir) {
  return Needed("idmapped-mounts", fmt::format("the file system of {} shows layers with each job's own ids", data_dir),
                TryIdmap(data_dir), "put --data-dir on ext4, xfs or btrfs");
}

Check ExamineOverlay() {
  const Fd overlay(static_cast<int>(::syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!overlay)
    return {"overlay", CheckState::kMissing, fmt::format("no overlay file system: {}", ::strerror(errno)),
            "modprobe overlay", true};
  const Result<Fd> lower = MakeMount("tmpfs", {}, 0);
  const Result<Fd> upper = MakeMount("tmpfs", {}, 0);
  const Result<void> detached = lower && upper ? TryDetachedOverlay(overlay.get(), lower->get(), upper->get())
                                               : Result<void>(Fail(ErrorCode::kInternal, "no tmpfs"));
  if (detached) return {"overlay", CheckState::kOk, "root file systems are assembled by descriptor", "", true};
  return {"overlay", CheckState::kOk,
          "root file systems are attached for the moment of assembly, as this kernel demands", "", true};
}

Check ExamineSeccomp() {
  const uint32_t action = SECCOMP_RET_KILL_PROCESS;
  Result<void> result;
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
    result = FailErrno(errno, "system call filters");
  return Needed("seccomp", "system calls can be filtered", result, "a kernel with CONFIG_SECCOMP_FILTER");
}

Check ExamineMemoryFileExec() {
  const Fd file(::memfd_create("caisson-probe", MFD_CLOEXEC | MFD_EXEC));
  if (file || errno == EINVAL)  // EINVAL: an older kernel, where every memory file may be executed
    return {"memory-file-exec", CheckState::kOk, "pid 1 of jobs runs from a sealed memory file", ""};
  return {"memory-file-exec", CheckState::kDegraded, "pid 1 of jobs runs from a file on a private read-only mount",
          "sysctl -w vm.memfd_noexec=1"};
}

Check ExamineOpenFiles() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max >= kGoodOpenFiles || HasCapability(CAP_SYS_RESOURCE))
    return {"open-files", CheckState::kOk, "jobs may open up to 65536 files", ""};
  return {"open-files", CheckState::kDegraded,
          fmt::format("the launcher's own limit is {}, so that a job's is too", limit.rlim_max),
          "LimitNOFILE=infinity in the unit, or ulimit -Hn 1048576 before the start"};
}

Check ExamineResourceCapability() {
  if (HasCapability(CAP_SYS_RESOURCE))
    return {"sys-resource", CheckState::kOk, "limits can be raised, and jobs are killed first when memory runs out",
            ""};
  return {"sys-resource", CheckState::kDegraded,
          "without CAP_SYS_RESOURCE a job can lower its oom_score_adj to the launcher's",
          "start it with full root rights"};
}

Check ExamineCorePattern() {
  const std::string pattern = ReadFile("/proc/sys/kernel/core_pattern", 4096).value_or("");
  if (!pattern.starts_with("|") && !pattern.starts_with("@"))
    return {"core-pattern", CheckState::kOk, "no program of the host handles core dumps", ""};
  return {"core-pattern", CheckState::kDegraded,
          fmt::format("a program of the host handles core dumps ({}); jobs get the limit that keeps it away",
                      EscapeForLog(pattern.substr(0, pattern.find('\n')), 80)),
          "sysctl -w kernel.core_pipe_limit=16"};
}

}  // namespace caisson::sandbox
