// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/sandbox.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/check.h"
#include "base/io.h"
#include "sandbox/init_protocol.h"
#include "sandbox/launcher/bare_clone.h"
#include "sandbox/launcher/launch_plan.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET;
constexpr unsigned kGetMountNamespace = _IO(0xff, 3);  // PIDFD_GET_MNT_NAMESPACE, Linux 6.11

// So that the mounts outlive the job's last process: their end is the janitor's work. None where the job has ended
// already, and they with it.
Fd OpenMountNamespace(const BareChild& child, const Environment& environment) {
  Fd by_pidfd(::ioctl(child.pidfd.get(), kGetMountNamespace, 0));
  if (by_pidfd) return by_pidfd;
  Result<Fd> by_name = OpenAt(environment.root.proc_dir.get(), fmt::format("{}/ns/mnt", child.pid), O_RDONLY);
  return by_name ? *std::move(by_name) : Fd();
}

bool IsFull(int file_system) {
  struct statfs info {};
  return file_system >= 0 && ::fstatfs(file_system, &info) == 0 && (info.f_bfree == 0 || info.f_ffree == 0);
}

uint64_t MicrosOf(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
}

// Reads what pid 1 has said so far. True if the payload's exec is among it.
bool ReadRecords(int pipe, std::optional<InitRecord>& last) {
  bool executed = false;
  InitRecord record{};
  while (::read(pipe, &record, sizeof record) == static_cast<ssize_t>(sizeof record)) {
    executed = executed || record.event == InitEvent::kExecuted;
    last = record;
  }
  return executed;
}

void FillKind(const std::optional<InitRecord>& last, ExitReport& report) {
  if (!last || last->event == InitEvent::kExecuted) return;  // killed: pid 1 has not seen the payload's end
  report.status = last->value;
  if (last->event == InitEvent::kCopyFailed) {
    report.kind = ExitReport::Kind::kSetupFailed;
    report.step = "copy payload";
  } else if (last->event == InitEvent::kExecFailed) {
    report.kind = ExitReport::Kind::kExecFailed;
  } else if (WIFSIGNALED(last->value)) {
    report.kind = ExitReport::Kind::kSignaled;
    report.status = WTERMSIG(last->value);
    report.foreign_abi = report.status == SIGSYS;
  } else {
    report.kind = ExitReport::Kind::kExited;
    report.status = WEXITSTATUS(last->value);
  }
}

bool IsShortage(int error) { return error == EMFILE || error == ENFILE || error == EAGAIN || error == ENOMEM; }

// What resolving or making a path answers because of the path.
bool IsOfPath(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case ELOOP:
    case EEXIST:
    case ENAMETOOLONG:
    case EROFS:
    case ENOSPC:
    case EDQUOT:
    case EMLINK:
    case EOVERFLOW: return true;  // the last: an owner that has no number inside
    default: return false;
  }
}

// A failed or killed child's step as an error: kInvalid where the image or the job is to blame, kExhausted for the
// job's memory limit, kUnavailable for what the host is short of. Once the exec is over the child does not write there
// any more.
Result<void> CheckChild(const ChildContext& context, const Environment& environment) {
  const char* const name = context.steps[context.step].name;
  const int error = static_cast<int>(-context.error);
  if (error == 0 && context.step + 1 == context.steps.size()) return {};
  if (error == 0) return Fail(ErrorCode::kInternal, "{}: the process was killed", name);
  tl::unexpected<Error> failure = FailErrno(error, "{}", name);
  failure.value().code = ErrorCode::kInternal;
  const bool of_working_directory =
      name == std::string_view(kMakeWorkingDirectoryStep) || name == std::string_view(kEnterWorkingDirectoryStep);
  if (of_working_directory) failure.value().message += fmt::format(" (\"{}\")", context.working_dir);
  if (error == ENOMEM && environment.cgroups.has_memory()) {
    failure.value().code = ErrorCode::kExhausted;
    failure.value().message += " (the job's memory limit was met while setting up)";
  } else if (IsShortage(error)) {
    failure.value().code = ErrorCode::kUnavailable;
  } else if (of_working_directory && IsOfPath(error)) {
    failure.value().code = ErrorCode::kInvalid;
  }
  return failure;
}

}  // namespace

struct Sandbox::State {
  Fd pidfd;
  Fd status;
  Fd standard_output;
  Fd standard_error;
  Fd tmp;
  Remains remains;
  uint32_t unenforced = 0;
  std::vector<StepTiming> timings;
  bool stop_sent = false;
  std::optional<InitRecord> last_record;  // the last of what pid 1 said
};

Sandbox::Sandbox(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sandbox::Sandbox(Sandbox&&) noexcept = default;
Sandbox& Sandbox::operator=(Sandbox&&) noexcept = default;

Result<Sandbox> Sandbox::Launch(const LaunchRequest& request, Environment& environment) {
  LaunchPlan plan;
  TRY(plan.Prepare(request, environment));

  alignas(16) char stack[kBareStackBytes];
  const BareCloneOptions options{CLONE_VM | CLONE_VFORK | kNewNamespaces, plan.cgroup.directory()};
  plan.timer.Done("prepare clone");
  Result<BareChild> child = StartBareChild(options, stack, RunChildSteps, &plan.context);
  if (!child) {
    (void)plan.cgroup.Remove();
    return tl::unexpected(std::move(child).error());
  }
  plan.timer.Done("clone and child");
  Result<void> ran = CheckChild(plan.context, environment);
  // Only now that we wait for it no more: a throttled child would have held us. Nothing foreign has run while we did.
  if (ran) ran = environment.cgroups.LimitCpu(plan.cgroup, request.spec.limits);
  if (!ran) {
    plan.CleanUp(child->pidfd.get());
    return tl::unexpected(std::move(ran).error());
  }
  for (size_t i = 0; i + 1 < plan.context.steps.size(); ++i) {
    plan.timer.Add(plan.context.steps[i].name, plan.context.micros[i]);
  }

  auto state = std::make_unique<State>();
  state->remains.mount_namespace = OpenMountNamespace(*child, environment);
  state->remains.upper = std::move(plan.upper);
  state->remains.cgroup = std::move(plan.cgroup);
  state->remains.ids = std::move(plan.ids);
  state->pidfd = std::move(child->pidfd);
  state->status = std::move(plan.status.read);
  state->standard_output = std::move(plan.standard_output.read);
  state->standard_error = std::move(plan.standard_error.read);
  state->tmp = std::move(plan.mounts.tmp);
  state->unenforced = plan.unenforced;
  state->timings = std::move(plan.timer).Take();
  return Sandbox(std::move(state));
}

Sandbox::~Sandbox() {
  if (!state_) return;
  Kill();
  siginfo_t info{};
  while (::waitid(P_PIDFD, static_cast<id_t>(state_->pidfd.get()), &info, WEXITED) != 0 && errno == EINTR) {
  }
  state_->remains.mount_namespace.reset();
  state_->remains.upper.reset();
  state_->remains.cgroup.WaitUntilEmpty();
  (void)state_->remains.cgroup.Remove();
}

int Sandbox::pidfd() const { return state_->pidfd.get(); }
int Sandbox::status_pipe() const { return state_->status.get(); }
int Sandbox::stdout_pipe() const { return state_->standard_output.get(); }
int Sandbox::stderr_pipe() const { return state_->standard_error.get(); }
uint32_t Sandbox::unenforced() const { return state_->unenforced; }

bool Sandbox::ReadStatus() { return ReadRecords(state_->status.get(), state_->last_record); }

// pid 1 takes SIGTERM, whatever the payload's own stop signal is.
void Sandbox::SendStopSignal() {
  if (std::exchange(state_->stop_sent, true)) return;
  (void)::syscall(SYS_pidfd_send_signal, state_->pidfd.get(), SIGTERM, nullptr, 0);
}

void Sandbox::Kill() {
  state_->remains.cgroup.Kill();
  (void)::syscall(SYS_pidfd_send_signal, state_->pidfd.get(), SIGKILL, nullptr, 0);  // all of its pid namespace follows
}

ExitReport Sandbox::Reap(Remains& remains) && {
  const std::unique_ptr<State> state = std::move(state_);
  siginfo_t info{};
  rusage used{};
  long reaped = -1;
  do {
    reaped = ::syscall(SYS_waitid, P_PIDFD, state->pidfd.get(), &info, WEXITED, &used);
  } while (reaped != 0 && errno == EINTR);
  CHECK(reaped == 0);

  ExitReport report;
  (void)ReadRecords(state->status.get(), state->last_record);
  FillKind(state->last_record, report);
  report.oom = state->remains.cgroup.OomKilled();
  report.disk_full = IsFull(state->remains.upper.get()) || IsFull(state->tmp.get());
  report.usage = state->remains.cgroup.ReadUsage();
  if (!report.usage.cpu_micros) report.usage.cpu_micros = MicrosOf(used.ru_utime) + MicrosOf(used.ru_stime);
  if (!report.usage.memory_peak_bytes && state->last_record && state->last_record->peak_rss_kib > 0) {
    report.usage.memory_peak_bytes = state->last_record->peak_rss_kib << 10;
  }
  report.timings = std::move(state->timings);
  remains = std::move(state->remains);
  return report;
}

}  // namespace caisson::sandbox
