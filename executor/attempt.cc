// SPDX-License-Identifier: Apache-2.0
#include "executor/attempt.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <set>

#include "base/check.h"
#include "base/io.h"
#include "base/log.h"
#include "executor/capture.h"
#include "executor/judge.h"
#include "executor/sandbox_plan.h"

namespace caisson::executor {
namespace {

using queue::Outcome;
using queue::Reason;

constexpr std::chrono::milliseconds kStoreRetry{1000};

// Closes a rootfs: the launcher's open layers are what keeps them from being removed.
class RootfsPin {
 public:
  RootfsPin(LauncherPort& launcher, sandbox::RootfsHandle handle) : launcher_(launcher), handle_(handle) {}
  RootfsPin(const RootfsPin&) = delete;
  RootfsPin& operator=(const RootfsPin&) = delete;
  ~RootfsPin() {
    if (auto closed = launcher_.CloseRootfs(handle_); !closed) {
      LogWarn("rootfs_not_closed", {{"error", closed.error().message}});
    }
  }
  sandbox::RootfsHandle handle() const { return handle_; }

 private:
  LauncherPort& launcher_;
  sandbox::RootfsHandle handle_;
};

Outcome Cancelled() {
  Outcome outcome;
  outcome.reason = Reason::kCancelled;
  return outcome;
}

}  // namespace

Result<std::shared_ptr<Attempt>> Attempt::Make(queue::Claim claim, AttemptContext& context) {
  Fd exited(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!exited) return FailErrno(errno, "make an event descriptor");
  return std::shared_ptr<Attempt>(new Attempt(std::move(claim), context, std::move(exited)));
}

Attempt::Attempt(queue::Claim claim, AttemptContext& context, Fd exited)
    : claim_(std::move(claim)), context_(context), parts_(context.parts), exited_(std::move(exited)) {}

void Attempt::Run() {
  auto log = parts_.logs->OpenWriter(claim_.id, claim_.attempt);
  if (!log) {
    LogError("log_not_opened", {{"job", claim_.id.value}, {"error", log.error().message}});
    End(Lost("its log cannot be written: " + log.error().message), nullptr);
    return;
  }
  const Outcome outcome = Execute(**log);
  End(outcome, std::move(*log));
}

// The attempt as a list of steps; each may be the last.
Outcome Attempt::Execute(queue::LogWriter& log) {
  if (WasStoppedBefore()) return Cancelled();
  if (!context_.memory.CanEverHave(claim_.spec.resources.memory_bytes)) return NeedsMoreThanTheNodeHas();
  Result<image::ImageRecord> image = BringImage();
  {
    const std::lock_guard lock(mutex_);
    progress_.reset();
  }
  if (!image) return JudgeImageError(image.error());
  const Plan plan = BuildSandboxSpec(claim_, *image);
  if (!plan) return plan.error();
  Result<Fd> payload = MakePayload();
  if (!payload) return Lost("its payload cannot be read: " + payload.error().message);
  const Result<sandbox::RootfsHandle> opened = OpenRootfs(*image);
  if (!opened) {
    return opened.error().code == ErrorCode::kCancelled ? Cancelled() : JudgeLaunchError(opened.error(), claim_.spec);
  }
  const RootfsPin rootfs(*parts_.launcher, *opened);
  const auto memory =
      context_.memory.Take(plan->limits.memory_bytes, [&] { return stop_reason() != StopReason::kNone; });
  if (!memory) return Cancelled();
  return RunSandbox(rootfs.handle(), *plan, payload->get(), log);
}

// Also by a cancel request that was committed before anybody could have told this attempt of it.
bool Attempt::WasStoppedBefore() {
  if (stop_reason() != StopReason::kNone) return true;
  const auto job = parts_.store->Get(claim_.tenant, claim_.id);
  if (!job || !job->cancel_requested) return false;
  Stop(StopReason::kCancel, {});
  return true;
}

Outcome Attempt::NeedsMoreThanTheNodeHas() const {
  Outcome outcome;
  outcome.reason = Reason::kSetupError;
  outcome.message = fmt::format(
      "it asks for {} bytes of memory, and this node has {} for all of its jobs: ask for less, or raise memory_bytes "
      "in the daemon's settings",
      claim_.spec.resources.memory_bytes, context_.memory.total());
  return outcome;
}

// ---- Image ------------------------------------------------------------------------------------------------------

image::PullContext Attempt::PullContextOf() {
  return {.tenant = claim_.tenant_name,
          .progress =
              [this](const image::PullProgress& progress) {
                const std::lock_guard lock(mutex_);
                progress_ = progress;
              },
          .cancelled = &pull_cancelled_};
}

// The digest of an earlier attempt where there is one.
ImageRequest Attempt::ImageRequestOf() const {
  return {.tenant = claim_.tenant,
          .reference = claim_.spec.image,
          .pinned = claim_.image_digest,
          .policy = image::ParsePullPolicy(claim_.spec.pull_policy).value_or(context_.options.pull_policy)};
}

Result<void> Attempt::StoreDigest(const Digest& digest) {
  auto stored = parts_.store->SetImageDigest(ref(), digest);
  if (stored) return {};
  stored.error().code = ErrorCode::kUnavailable;  // not the image's fault
  return tl::unexpected(std::move(stored).error().Context("the job store"));
}

Result<image::ImageRecord> Attempt::BringImage() {
  ImageAccess images(*parts_.store, *parts_.images);
  BroughtImage image = TRY(
      images.Bring(ImageRequestOf(), PullContextOf(), [this](const Digest& digest) { return StoreDigest(digest); }));
  reference_ = std::move(image.reference);
  return std::move(image.record);
}

// A layer that the record promises and the store lacks is fetched once more.
Result<sandbox::RootfsHandle> Attempt::OpenRootfs(image::ImageRecord& image) {
  auto opened = parts_.launcher->OpenRootfs(image.rootfs);
  if (opened || opened.error().code != ErrorCode::kNotFound) return opened;
  LogWarn("layer_missing", {{"job", claim_.id.value}, {"error", opened.error().message}, {"action", "pull again"}});
  ImageAccess images(*parts_.store, *parts_.images);
  image = TRY(images.BringAgain(reference_, ImageRequestOf(), PullContextOf())).record;
  return parts_.launcher->OpenRootfs(image.rootfs);
}

Result<Fd> Attempt::MakePayload() {
  if (!claim_.spec.has_payload) return Fd();
  return MakeSealedMemfd("caisson-payload", TRY(parts_.store->Payload(claim_.id)));
}

// ---- Sandbox ----------------------------------------------------------------------------------------------------

Outcome Attempt::RunSandbox(sandbox::RootfsHandle rootfs, const sandbox::SandboxSpec& spec, int payload,
                            queue::LogWriter& log) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_ != StopReason::kNone) return Cancelled();
    launching_ = true;
  }
  context_.exits.BeginLaunch();
  Result<sandbox::Launched> launched = parts_.launcher->Launch(rootfs, spec, payload);
  context_.exits.EndLaunch(launched ? std::optional(launched->handle) : std::nullopt, exited_.get());
  if (!launched) return JudgeLaunchError(launched.error(), claim_.spec);

  StopReason stop;
  std::chrono::milliseconds stop_grace;
  {
    const std::lock_guard lock(mutex_);
    handle_ = launched->handle;
    stop = stop_;
    stop_grace = stop_grace_;
  }
  if (stop != StopReason::kNone) TellLauncher(launched->handle, stop, stop_grace);  // asked while it was launched
  SayRunning(launched->unenforced);
  return Watch(std::move(*launched), spec, log);
}

void Attempt::SayRunning(uint32_t unenforced) {
  const std::vector<std::string> names = UnenforcedNames(unenforced);
  if (auto set = parts_.store->SetRunning(ref(), context_.options.clock->NowMs(), names); !set) {
    // Lost, or the store cannot write now: the renewal of the lease will find out which.
    LogWarn("running_not_stored", {{"job", claim_.id.value}, {"error", set.error().message}});
  }
  LogInfo("job_running", {{"job", claim_.id.value},
                          {"attempt", claim_.attempt},
                          {"unenforced", fmt::format("{}", fmt::join(names, ","))}});
}

// Copies the output until the end is known, then judges it.
Outcome Attempt::Watch(sandbox::Launched launched, const sandbox::SandboxSpec& spec, queue::LogWriter& log) {
  const sandbox::SandboxHandle handle = launched.handle;
  Result<Capture> capture = Capture::Open(launched, log, *parts_.launcher);
  Result<void> copied = capture ? capture->CopyUntil(exited_.get()) : tl::unexpected(capture.error());
  if (!copied) {  // a job must not go on unseen
    LogError("capture_failed", {{"job", claim_.id.value}, {"error", copied.error().message}});
    TellLauncher(handle, StopReason::kAbandon, {});
    pollfd exited{exited_.get(), POLLIN, 0};
    while (::poll(&exited, 1, -1) < 0 && errno == EINTR) {
    }
  }
  {
    const std::lock_guard lock(mutex_);
    handle_.reset();
  }
  const std::optional<sandbox::ExitReport> report = context_.exits.Take(handle);
  CHECK(report.has_value());
  if (!copied) return Lost("its output could not be read: " + copied.error().message);
  if (auto rest = capture->CopyRest(context_.options.output_wait); !rest) {
    LogError("capture_failed", {{"job", claim_.id.value}, {"error", rest.error().message}});
  }
  stopped_by_us_ = report->stopped && !report->timed_out;
  return Judge(*report, claim_.spec, spec.argv[0], stop_reason() == StopReason::kCancel);
}

// ---- The end ----------------------------------------------------------------------------------------------------

// Writes the result, as often as it takes: it exists nowhere else. The log comes first, so that whoever sees the job's
// end sees all of its output.
void Attempt::End(const Outcome& outcome, std::unique_ptr<queue::LogWriter> log) {
  queue::LogState log_state{claim_.log_bytes, claim_.log_dropped};
  if (log) {
    if (auto synced = log->Sync(); !synced) {
      LogError("log_not_synced", {{"job", claim_.id.value}, {"error", synced.error().message}});
    }
    log_state = log->state();
    log.reset();
  }
  for (bool said = false;; said = true) {
    const StopReason stop = stop_reason();
    if (stop == StopReason::kAbandon) break;
    const bool give_back = stop == StopReason::kDrain && (stopped_by_us_ || outcome.reason == Reason::kCancelled);
    const Result<void> committed = Commit(outcome, log_state, give_back);
    if (committed) return;
    if (committed.error().code == ErrorCode::kConflict) break;
    if (!said) LogError("attempt_not_stored", {{"job", claim_.id.value}, {"error", committed.error().message}});
    std::unique_lock lock(mutex_);
    stop_changed_.wait_for(lock, kStoreRetry, [&] { return stop_ == StopReason::kAbandon; });
  }
  LogWarn("attempt_abandoned", {{"job", claim_.id.value}, {"attempt", claim_.attempt}, {"fence", claim_.fence}});
}

Result<void> Attempt::Commit(const Outcome& outcome, const queue::LogState& log, bool give_back) {
  if (give_back) {
    TRY(parts_.store->Release(ref(), log.bytes, log.dropped));
    LogInfo("job_given_back", {{"job", claim_.id.value}, {"attempt", claim_.attempt}});
    return {};
  }
  const queue::JobRecord job = TRY(parts_.store->Finish(ref(), outcome, log.bytes, log.dropped));
  LogInfo("attempt_finished", {{"job", claim_.id.value},
                               {"attempt", claim_.attempt},
                               {"reason", queue::ToString(outcome.reason)},
                               {"state", queue::ToString(job.state)},
                               {"message", outcome.message}});
  return {};
}

// ---- Other threads ----------------------------------------------------------------------------------------------

void Attempt::Stop(StopReason reason, std::chrono::milliseconds stop_grace) {
  std::optional<sandbox::SandboxHandle> handle;
  {
    const std::lock_guard lock(mutex_);
    if (reason < stop_) return;
    stop_ = reason;
    stop_grace_ = stop_grace;
    handle = handle_;
    stop_changed_.notify_all();
  }
  pull_cancelled_ = true;
  context_.memory.Wake();
  if (handle) TellLauncher(*handle, reason, stop_grace);
}

void Attempt::StopUnlessRunning(StopReason reason) {
  {
    const std::lock_guard lock(mutex_);
    if (launching_ || reason < stop_) return;
    stop_ = reason;
    stop_changed_.notify_all();
  }
  pull_cancelled_ = true;
  context_.memory.Wake();
}

void Attempt::TellLauncher(sandbox::SandboxHandle handle, StopReason reason, std::chrono::milliseconds stop_grace) {
  const auto told =
      reason == StopReason::kAbandon ? parts_.launcher->Kill(handle) : parts_.launcher->Stop(handle, stop_grace);
  if (told || told.error().code == ErrorCode::kNotFound) return;  // it has ended by itself
  LogWarn("sandbox_not_stopped", {{"job", claim_.id.value}, {"error", told.error().message}});
}

StopReason Attempt::stop_reason() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

std::optional<image::PullProgress> Attempt::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

}  // namespace caisson::executor
