// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/sandbox_table.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/log.h"
#include "sandbox/launcher/discard.h"

namespace caisson::sandbox {
namespace {

// Descriptors that one sandbox holds here, with some to spare, and what is kept for everything else.
constexpr size_t kDescriptorsEach = 16;
constexpr size_t kDescriptorsKept = 512;
constexpr size_t kMaxSandboxes = 4096;

// What pid 1 may take before the payload's exec, on top of the time-out: to copy the payload and search PATH, through
// whatever links the image has.
constexpr std::chrono::milliseconds kExecAllowance{10'000};

// A cgroup stays busy until the kernel has let go of its last zombie.
constexpr std::chrono::milliseconds kCgroupRetry{10};
constexpr int kCgroupTries = 500;

size_t Capacity() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const size_t usable = limit.rlim_cur > kDescriptorsKept ? limit.rlim_cur - kDescriptorsKept : 0;
  return std::clamp<size_t>(usable / kDescriptorsEach, 16, kMaxSandboxes);
}

}  // namespace

struct SandboxTable::Running {
  std::string id;
  Sandbox sandbox;
  std::shared_ptr<const Rootfs> rootfs;  // the pin
  std::chrono::milliseconds timeout{0};
  std::chrono::milliseconds grace{0};
  uint64_t drained[2] = {0, 0};  // positions of stdout and stderr
  bool timed_out = false;
  bool stopped = false;
  bool stopping = false;
  EventLoop::Clock::time_point kill_at;
  EventLoop::WatchId end_watch = 0;
  EventLoop::WatchId status_watch = 0;
  EventLoop::TimerId timeout_timer = 0;
  EventLoop::TimerId kill_timer = 0;
};

SandboxTable::SandboxTable(EventLoop& loop, Environment& environment, Janitor& janitor, OnExited on_exited)
    : loop_(loop),
      environment_(environment),
      janitor_(janitor),
      on_exited_(std::move(on_exited)),
      running_(Capacity()) {}

SandboxTable::~SandboxTable() {
  for (const uint64_t handle : running_.Handles()) {
    Running& running = *running_.Find(handle);
    loop_.Unwatch(running.end_watch);
    loop_.Unwatch(running.status_watch);
    loop_.Cancel(running.timeout_timer);
    loop_.Cancel(running.kill_timer);
  }
}

Result<SandboxTable::Running*> SandboxTable::Find(SandboxHandle handle) const {
  Running* running = running_.Find(handle.value);
  if (running == nullptr) return Fail(ErrorCode::kNotFound, "no such sandbox; it may have been reported as exited");
  return running;
}

Result<SandboxTable::Started> SandboxTable::Launch(const SandboxSpec& spec, std::shared_ptr<const Rootfs> rootfs,
                                                   int payload) {
  if (running_.full()) return Fail(ErrorCode::kUnavailable, "the launcher cannot keep more sandboxes now");
  const std::vector<int> layers = rootfs->directories();
  Sandbox sandbox = TRY(Sandbox::Launch({spec, layers, payload}, environment_));
  auto owned =
      std::unique_ptr<Running>(new Running{spec.id, std::move(sandbox), std::move(rootfs), spec.timeout, spec.grace});
  Running& running = *owned;
  const uint64_t handle = running_.Insert(std::move(owned));
  running.end_watch = loop_.Watch(running.sandbox.pidfd(), EPOLLIN, [this, handle](uint32_t) { OnEnd(handle); });
  running.status_watch = loop_.Watch(running.sandbox.status_pipe(), EPOLLIN,
                                     [this, handle](uint32_t events) { OnStatus(handle, events); });
  if (running.timeout.count() > 0) ArmTimeout(handle, running.timeout + kExecAllowance);
  return Started{SandboxHandle{handle}, running.sandbox.stdout_pipe(), running.sandbox.stderr_pipe(),
                 running.sandbox.unenforced()};
}

// ---- While it runs ----------------------------------------------------------------------------------------------

void SandboxTable::ArmTimeout(uint64_t handle, std::chrono::milliseconds delay) {
  Running& running = *running_.Find(handle);
  loop_.Cancel(running.timeout_timer);
  running.timeout_timer =
      loop_.After(delay, [this, handle, grace = running.grace] { BeginStop(handle, Cause::kTimedOut, grace); });
}

void SandboxTable::OnStatus(uint64_t handle, uint32_t events) {
  Running* running = running_.Find(handle);
  if (running == nullptr) return;
  const bool started = (events & EPOLLIN) != 0 && running->sandbox.ReadStatus();
  if (started && running->timeout.count() > 0) ArmTimeout(handle, running->timeout);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (events & EPOLLIN) == 0) loop_.Unwatch(running->status_watch);
}

// Whoever began it decides what the exit is called; a later call can only bring the kill forward.
void SandboxTable::BeginStop(uint64_t handle, Cause cause, std::chrono::milliseconds grace) {
  Running* running = running_.Find(handle);
  if (running == nullptr) return;
  const auto kill_at = EventLoop::Clock::now() + grace;
  if (running->stopping && running->kill_at <= kill_at) return;
  if (!running->stopping) {
    (cause == Cause::kTimedOut ? running->timed_out : running->stopped) = true;
    running->stopping = true;
    running->sandbox.SendStopSignal();
  }
  running->kill_at = kill_at;
  loop_.Cancel(running->kill_timer);
  running->kill_timer = loop_.After(grace, [this, handle] {
    if (Running* late = running_.Find(handle)) late->sandbox.Kill();
  });
}

Result<void> SandboxTable::Stop(SandboxHandle handle, std::chrono::milliseconds grace) {
  TRY(Find(handle));
  BeginStop(handle.value, Cause::kStopped, grace);
  return {};
}

Result<void> SandboxTable::Kill(SandboxHandle handle) {
  Running* running = TRY(Find(handle));
  if (!running->stopping) running->stopped = true;
  running->stopping = true;
  running->kill_at = EventLoop::Clock::now();
  running->sandbox.Kill();
  return {};
}

void SandboxTable::KillAll() {
  for (const uint64_t handle : running_.Handles()) (void)Kill(SandboxHandle{handle});
}

Result<void> SandboxTable::Drained(SandboxHandle handle, Stream stream, uint64_t position) {
  Running* running = TRY(Find(handle));
  uint64_t& drained = running->drained[stream == Stream::kStdout ? 0 : 1];
  if (position < drained)
    return Fail(ErrorCode::kInvalid, "position {} lies before {}, which was drained already", position, drained);
  Discard(stream == Stream::kStdout ? running->sandbox.stdout_pipe() : running->sandbox.stderr_pipe(),
          position - drained);
  drained = position;
  return {};
}

std::vector<RunningSandbox> SandboxTable::List() const {
  std::vector<RunningSandbox> list;
  for (const uint64_t handle : running_.Handles()) list.push_back({SandboxHandle{handle}, running_.Find(handle)->id});
  return list;
}

// ---- Its end ----------------------------------------------------------------------------------------------------

void SandboxTable::OnEnd(uint64_t handle) {
  Running* running = running_.Find(handle);
  if (running == nullptr) return;
  loop_.Unwatch(running->end_watch);
  loop_.Unwatch(running->status_watch);
  loop_.Cancel(running->timeout_timer);
  loop_.Cancel(running->kill_timer);
  Remains remains;
  ExitReport report = std::move(running->sandbox).Reap(remains);
  report.timed_out = running->timed_out;
  report.stopped = running->stopped;
  on_exited_(SandboxHandle{handle}, std::move(report));
  const std::unique_ptr<Running> ended = running_.Take(handle);
  Release(std::move(remains), std::move(ended->rootfs));
}

// The layers stay pinned until the overlay over them is gone, and the ids taken until nothing can bear them.
void SandboxTable::Release(Remains remains, std::shared_ptr<const Rootfs> rootfs) {
  ++releasing_;
  const auto rest = std::make_shared<Remains>(std::move(remains));
  janitor_.DropMounts(std::move(rest->mount_namespace), std::move(rest->upper), [this, rest, rootfs](Result<void>) {
    if (rest->cgroup.exists()) return RemoveCgroup(rest, kCgroupTries);
    Released();
  });
}

void SandboxTable::RemoveCgroup(std::shared_ptr<Remains> remains, int tries) {
  const Result<void> removed = remains->cgroup.Remove();
  if (!removed && tries > 0) {
    loop_.After(kCgroupRetry, [this, remains, tries] { RemoveCgroup(remains, tries - 1); });
    return;
  }
  if (!removed) LogWarn("cgroup_not_removed", {{"name", remains->cgroup.name()}, {"error", removed.error().message}});
  Released();
}

void SandboxTable::Released() {
  --releasing_;
  if (idle() && on_idle_) on_idle_();
}

}  // namespace caisson::sandbox
