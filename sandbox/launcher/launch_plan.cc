// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/launch_plan.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/init_protocol.h"
#include "sandbox/launcher/overlay.h"
#include "sandbox/launcher/resource_limits.h"
#include "sandbox/launcher/upper.h"
#include "sandbox/launcher/user_namespace.h"
#include "sandbox/validate.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kPageBytes = 4096;

std::string NamesOf(uint32_t unenforced) {
  std::string names;
  for (const auto& [bit, name] :
       {std::pair{kUnenforcedMemory, "memory"}, {kUnenforcedPids, "pids"}, {kUnenforcedCpu, "cpu"}}) {
    if ((unenforced & bit) != 0) names.append(names.empty() ? "" : ", ").append(name);
  }
  return names;
}

Result<uint32_t> CheckEnforceable(const Environment& environment) {
  const uint32_t unenforced = environment.cgroups.Unenforceable();
  if (unenforced != 0 && !environment.options.best_effort) {
    return Fail(ErrorCode::kUnsupported,
                "this host cannot enforce the limits of: {} ({}); isolation = \"best-effort\" runs without them",
                NamesOf(unenforced), environment.cgroups.why());
  }
  return unenforced;
}

Result<std::vector<Fd>> CloneLayers(std::span<const int> layers_top_first, int user_namespace) {
  std::vector<Fd> clones;
  for (const int layer : layers_top_first) {
    clones.push_back(TRY_IN("layer", CloneIdmapped(layer, user_namespace, /*read_only=*/true)));
  }
  return clones;
}

}  // namespace

void StepTimer::Done(std::string step) {
  const auto now = std::chrono::steady_clock::now();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now - last_).count();
  timings_.push_back({std::move(step), static_cast<uint32_t>(micros)});
  last_ = now;
}

Result<void> LaunchPlan::MakeIsolation(const SandboxSpec& spec, Environment& environment) {
  // Its limits are in force before anybody is in it, except the processor's, which follows the exec.
  cgroup = TRY(environment.cgroups.Make("job-" + spec.id, spec.limits));
  timer.Done("make cgroup");
  user_namespace = TRY(PrepareUserNamespace(ids, environment, /*for_worker=*/false));
  timer.Done("prepare user namespace");
  return {};
}

Result<void> LaunchPlan::MakeFileSystems(const LaunchRequest& request, Environment& environment) {
  upper = TRY_IN("make upper", MakeUpper(request.spec, ids.base(), request.payload >= 0));
  timer.Done("make upper");
  mounts = TRY_IN("make small mounts", MakeSmallMounts(request.spec.limits, ids.base()));
  timer.Done("make small mounts");
  layers = TRY(CloneLayers(request.layers_top_first, user_namespace.get()));
  root = TRY_IN("assemble overlay", AssembleOverlay(environment.overlay, layers, upper.get()));
  timer.Done("assemble overlay");
  return {};
}

Result<void> LaunchPlan::MakePipes(const SandboxSpec& spec) {
  status = TRY(MakePipe());
  standard_output = TRY(MakePipe());
  standard_error = TRY(MakePipe());
  // Our ends only: the flag belongs to each end, and the job's are to block as programs expect.
  for (const Pipe* pipe : {&status, &standard_output, &standard_error}) {
    if (::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK) != 0) return FailErrno(errno, "make a pipe non-blocking");
  }
  // The job's, or it could not open /dev/stdout, to which many images link their logs.
  for (const Pipe* pipe : {&standard_output, &standard_error}) {
    if (::fchown(pipe->write.get(), ids.base() + spec.uid, ids.base() + spec.gid) != 0) {
      return FailErrno(errno, "give a pipe to the job");
    }
  }
  return {};
}

// caisson-init STOP_SIGNAL PAYLOAD ARGV... (sandbox/init_protocol.h)
void LaunchPlan::FillArguments(const SandboxSpec& spec, bool with_payload) {
  words = {"caisson-init", std::to_string(spec.stop_signal), with_payload ? "1" : "0"};
  for (std::string& word : words) argv.push_back(word.data());
  for (const std::string& argument : spec.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  for (const std::string& entry : spec.env) envp.push_back(const_cast<char*>(entry.c_str()));
  envp.push_back(nullptr);
  context.argv = argv.data();
  context.envp = envp.data();
}

Result<void> LaunchPlan::FillContext(const LaunchRequest& request, Environment& environment) {
  const SandboxSpec& spec = request.spec;
  FillArguments(spec, request.payload >= 0);
  // Of the job's own ipc and network namespaces. Small pools of what memory.max does not count by the piece.
  sysctl_values = {std::to_string(spec.limits.memory_bytes), std::to_string(spec.limits.memory_bytes / kPageBytes)};
  sysctls = {{"sys/kernel/shmmax", sysctl_values[0].c_str()},
             {"sys/kernel/shmall", sysctl_values[1].c_str()},
             {"sys/kernel/shmmni", "256"},
             {"sys/kernel/msgmni", "256"},
             {"sys/kernel/sem", "250 32000 100 128"},
             {"sys/fs/mqueue/queues_max", "64"},
             {"sys/net/ipv6/conf/all/disable_ipv6", "1"}};
  for (const auto& program : environment.seccomp.programs()) {
    filters.push_back({static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())});
  }
  const ResourceLimits limits = TRY(JobResourceLimits(spec.limits, unenforced));
  static_assert(kResourceLimits == RLIM_NLIMITS);
  std::copy(limits.begin(), limits.end(), context.limits);

  context.steps = environment.child_steps;
  context.host_proc = environment.root.proc_dir.get();
  context.root = root.get();
  context.dev = mounts.dev.get();
  context.shm = mounts.shm.get();
  context.tmp = mounts.tmp.get();
  context.empty = mounts.empty.get();
  context.user_namespace = user_namespace.get();
  context.stdout_pipe = standard_output.write.get();
  context.stderr_pipe = standard_error.write.get();
  context.status_pipe = status.write.get();
  context.payload_source = request.payload;
  context.liveness_read = environment.liveness_read.get();
  context.liveness_write = environment.liveness_write.get();
  context.init_program = environment.init_program.get();
  context.host_name = spec.id.c_str();
  context.working_dir = spec.working_dir.c_str();
  context.sysctls = sysctls;
  context.uid = spec.uid;
  context.gid = spec.gid;
  context.groups = spec.groups;
  context.filters = filters;
  return {};
}

Result<void> LaunchPlan::Prepare(const LaunchRequest& request, Environment& environment) {
  TRY(ValidateSpec(request.spec));
  unenforced = TRY(CheckEnforceable(environment));
  ids = TRY(environment.ids.Take());
  TRY(MakePipes(request.spec));
  Result<void> prepared = MakeIsolation(request.spec, environment);
  if (prepared) prepared = MakeFileSystems(request, environment);
  if (prepared) prepared = FillContext(request, environment);
  if (!prepared) (void)cgroup.Remove();
  return prepared;
}

void LaunchPlan::CleanUp(int pidfd) {
  cgroup.Kill();
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  siginfo_t info{};
  while (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED) != 0 && errno == EINTR) {
  }
  root.reset();
  mounts = {};
  upper.reset();
  cgroup.WaitUntilEmpty();
  (void)cgroup.Remove();
}

}  // namespace caisson::sandbox
