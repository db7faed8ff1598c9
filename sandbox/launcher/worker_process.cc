// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/worker_process.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/io.h"
#include "sandbox/launcher/user_namespace.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kComplaintBytes = 4096;

// What one worker may take: far above any honest layer, and a bound for a hostile one.
constexpr rlim_t kAddressBytes = 1 << 30;
constexpr rlim_t kCpuSeconds = 600;
constexpr rlim_t kFileBytes = 64ULL << 30;
constexpr rlim_t kOpenFiles = 65536;  // a merge walks all its layers at once, one a layer and directory level
constexpr rlim_t kProcesses = 8;      // three threads unpack

Limits CgroupLimits() {
  Limits limits;
  limits.memory_bytes = 1ULL << 30;  // page cache of what it writes counts too, but can be reclaimed
  limits.pids = kProcesses;
  limits.cpu_millis = static_cast<uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)) * 1000;
  return limits;
}

struct Limit {
  __rlimit_resource resource;
  rlim_t value;
};
constexpr Limit kLimits[] = {
// Address space is what an address sanitizer takes in terabytes.
#ifndef __SANITIZE_ADDRESS__
    {RLIMIT_AS, kAddressBytes},
#endif
    {RLIMIT_CPU, kCpuSeconds},  {RLIMIT_FSIZE, kFileBytes}, {RLIMIT_NOFILE, kOpenFiles},
    {RLIMIT_NPROC, kProcesses}, {RLIMIT_CORE, 1},  // not 0: with 1 a core handler on the host is not started either
    {RLIMIT_MEMLOCK, 0},        {RLIMIT_MSGQUEUE, 0},
};

const char* VerbName(WorkerVerb verb) {
  switch (verb) {
    case WorkerVerb::kUnpack: return "unpack";
    case WorkerVerb::kMerge: return "merge";
    case WorkerVerb::kRemove: return "remove";
    case WorkerVerb::kVerify: return "verify";
    case WorkerVerb::kExport: return "export";
  }
  return "";
}

// Everything that the child needs, made by the launcher before the fork.
struct Preparation {
  Fd user_namespace;
  Fd output;  // detached mounts
  std::vector<Fd> layers;
  Pipe complaints;
};

Result<Preparation> Prepare(const WorkerRequest& request, const IdRange& ids, Environment& environment) {
  Preparation made;
  made.user_namespace = TRY(PrepareUserNamespace(ids, environment, /*for_worker=*/true));
  const bool reads_only = request.verb == WorkerVerb::kVerify || request.verb == WorkerVerb::kExport;
  made.output = TRY(CloneIdmapped(request.directory, made.user_namespace.get(), reads_only));
  for (const int layer : request.layers_top_first)
    made.layers.push_back(TRY(CloneIdmapped(layer, made.user_namespace.get(), /*read_only=*/true)));
  made.complaints = TRY(MakePipe(O_NONBLOCK));  // the worker cannot be held up by it, nor the launcher
  return made;
}

Result<void> Attach(const Fd& mount, const std::string& place) {
  if (::mkdir(place.c_str(), 0755) != 0) return FailErrno(errno, "make {}", place);
  if (::syscall(SYS_move_mount, mount.get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return FailErrno(errno, "attach {}", place);
  return {};
}

// The host's files, for the program and its libraries, and over /mnt what it works on. Made while the mount namespace
// still belongs to the host's user namespace: in the copy that the worker then gets, every mount is locked as it is,
// so that read-only layers stay read-only whatever it does.
Result<void> MakeMounts(const Preparation& made, const Environment& environment) {
  if (::setns(environment.root.host_mount_namespace.get(), CLONE_NEWNS) != 0)
    return FailErrno(errno, "return to the host's mounts");
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno(errno, "make a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno(errno, "make mounts private");
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("caisson-worker", "/mnt", "tmpfs", kFlags, "size=64k,nr_inodes=256,mode=755") != 0)
    return FailErrno(errno, "mount a tmpfs on /mnt");
  TRY(Attach(made.output, "/mnt/out"));
  if (made.layers.empty()) return {};
  if (::mkdir("/mnt/layers", 0755) != 0) return FailErrno(errno, "make /mnt/layers");
  for (size_t i = 0; i < made.layers.size(); ++i) TRY(Attach(made.layers[i], "/mnt/layers/" + std::to_string(i)));
  return {};
}

// A mount namespace of its own, owned by its user namespace, so that the program can pivot away from the host's files.
Result<void> EnterUserNamespace(const Preparation& made) {
  if (::setns(made.user_namespace.get(), CLONE_NEWUSER) != 0) return FailErrno(errno, "enter the user namespace");
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno(errno, "make a mount namespace inside");
  if (::chdir("/mnt") != 0) return FailErrno(errno, "enter /mnt");
  if (::setgroups(0, nullptr) != 0) return FailErrno(errno, "clear groups");
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return FailErrno(errno, "become root inside");
  return {};
}

Result<void> SetLimits() {
  for (const Limit& limit : kLimits) {
    rlimit allowed{};
    ::getrlimit(limit.resource, &allowed);
    const rlim_t value = std::min(limit.value, allowed.rlim_max);  // raising needs CAP_SYS_RESOURCE
    const rlimit wanted{value, value};
    if (::setrlimit(limit.resource, &wanted) != 0) return FailErrno(errno, "set limit {}", int{limit.resource});
  }
  return {};
}

Result<void> Execute(const WorkerRequest& request) {
  char name[] = "caisson-worker";
  std::string verb = VerbName(request.verb);
  char* const arguments[] = {name, verb.data(), nullptr};
  char* const environment[] = {nullptr};
  ::execveat(request.program, "", arguments, environment, AT_EMPTY_PATH);
  return FailErrno(errno, "execute caisson-worker");
}

// In the child. Returns only with an error.
Result<void> Become(const WorkerRequest& request, const Preparation& made, const Environment& environment) {
  TRY(MakeMounts(made, environment));
  SetOomScore(500);
  TRY(SetLimits());
  TRY(EnterUserNamespace(made));
  EndWithLauncher(environment.liveness_read.get(), environment.liveness_write.get());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno(errno, "set no_new_privs");
  TRY(ArrangeDescriptors({request.input, request.report, made.complaints.write.get()}));
  return Execute(request);
}

}  // namespace

Result<WorkerProcess> WorkerProcess::Start(const WorkerRequest& request, Environment& environment) {
  WorkerProcess worker;
  worker.ids_ = TRY(environment.ids.Take());
  Preparation made = TRY_IN("start a store worker", Prepare(request, worker.ids_, environment));
  worker.cgroup_ = TRY_IN("start a store worker", environment.cgroups.Make(request.name, CgroupLimits()));
  ChildOptions options;
  options.clone_flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (worker.cgroup_.exists()) options.cgroup = worker.cgroup_.directory();
  const auto body = [&] {
    const Result<void> failed = Become(request, made, environment);
    (void)WriteAll(made.complaints.write.get(), failed.error().message);
  };
  Result<void> limited = environment.cgroups.LimitCpu(worker.cgroup_, CgroupLimits());
  Result<Fd> pidfd = limited ? StartChild(options, body) : tl::unexpected(std::move(limited).error());
  if (!pidfd) {
    (void)worker.cgroup_.Remove();
    return tl::unexpected(std::move(pidfd).error().Context("start a store worker"));
  }
  worker.pidfd_ = std::move(*pidfd);
  worker.stderr_ = std::move(made.complaints.read);
  return worker;
}

void WorkerProcess::Kill() {
  if (cgroup_.exists()) cgroup_.Kill();
  KillChild(pidfd_.get(), SIGKILL);  // pid 1 of its namespace: everything in it dies too
}

Result<ChildEnd> WorkerProcess::Reap() {
  const Result<ChildEnd> end = ReapChild(pidfd_.get());
  pidfd_.reset();
  if (cgroup_.exists()) (void)cgroup_.Remove();
  ids_ = IdRange();
  return end;
}

std::string WorkerProcess::Complaint() const {
  std::string text(kComplaintBytes, '\0');
  const ssize_t got = ::read(stderr_.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace caisson::sandbox
