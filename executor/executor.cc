// SPDX-License-Identifier: Apache-2.0
#include "executor/executor.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/log.h"
#include "executor/attempt.h"

namespace caisson::executor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr milliseconds kForeignWait{10'000};  // for the sandboxes of a service before us to be gone
constexpr milliseconds kForeignLook{20};
constexpr milliseconds kEndMargin{10'000};  // after a stop sequence: log, store

class SlotExecutor final : public Executor {
 public:
  SlotExecutor(const ExecutorOptions& options, const ExecutorDependencies& parts)
      : context_{.parts = parts, .options = options} {}
  ~SlotExecutor() override;

  Result<void> TakeOver();
  void StartThreads();

  void OnJobQueued() override;
  void OnExited(sandbox::SandboxHandle handle, sandbox::ExitReport report) override {
    context_.exits.Report(handle, std::move(report));
  }
  void Stop(const queue::JobId& id, std::optional<uint32_t> grace_seconds) override;
  std::optional<image::PullProgress> Progress(const queue::JobId& id) override;
  int busy() const override;
  void Drain(milliseconds wait) override;
  void SkipDrainWait() override;

 private:
  using AttemptPtr = std::shared_ptr<Attempt>;
  using Key = std::pair<queue::JobId, int64_t>;  // job and fence: a lost attempt may end beside its successor

  void RunSlot();
  AttemptPtr NextAttempt();
  AttemptPtr Register(queue::Claim claim);
  void Forget(const Attempt& attempt);
  void RunTime();
  void RenewLeases();
  void LetTimePass();
  void StopAll(StopReason reason, std::optional<milliseconds> grace);
  std::vector<AttemptPtr> Attempts() const;
  bool IsIdle() const { return attempts_.empty() && claiming_ == 0; }  // under mutex_

  AttemptContext context_;

  mutable std::mutex mutex_;       // guards what follows; never held during a call to store, images or launcher
  std::condition_variable work_;   // a hint came, or no more claims
  std::condition_variable ended_;  // an attempt ended, or the drain's wait is to be skipped
  std::condition_variable leaving_changed_;
  std::map<Key, AttemptPtr> attempts_;
  int claiming_ = 0;  // slots between "may claim" and a registered attempt
  uint64_t hints_ = 0;
  bool draining_ = false;
  bool skip_wait_ = false;
  bool leaving_ = false;

  bool store_failing_ = false;  // the time thread's: said once
  std::vector<std::thread> threads_;
};

// ---- Start and end ----------------------------------------------------------------------------------------------

// Sandboxes of a service before us are killed, and gone, before their jobs can be claimed again: a job must not run
// beside itself.
Result<void> SlotExecutor::TakeOver() {
  std::mutex waiting;
  std::condition_variable never;
  const auto deadline = steady_clock::now() + kForeignWait;
  for (bool first = true;; first = false) {
    const std::vector<sandbox::RunningSandbox> foreign =
        TRY_IN("ask for running sandboxes", context_.parts.launcher->List());
    if (foreign.empty()) break;
    for (const sandbox::RunningSandbox& running : foreign) {
      if (first) LogWarn("sandbox_not_taken_over", {{"job", running.id}, {"action", "kill"}});
      (void)context_.parts.launcher->Kill(running.handle);  // may have ended meanwhile
    }
    if (steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kTimedOut, "{} sandboxes of the service before did not end when killed", foreign.size());
    }
    std::unique_lock lock(waiting);
    never.wait_for(lock, kForeignLook);
  }
  const int lost = TRY_IN("give back the jobs of the service before", context_.parts.store->RecoverLeases());
  if (lost > 0) LogWarn("leases_recovered", {{"jobs", lost}});
  return {};
}

void SlotExecutor::StartThreads() {
  for (int i = 0; i < context_.options.slots; ++i) threads_.emplace_back([this] { RunSlot(); });
  threads_.emplace_back([this] { RunTime(); });
}

SlotExecutor::~SlotExecutor() {
  Drain(milliseconds(0));
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
    leaving_changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void SlotExecutor::Drain(milliseconds wait) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  work_.notify_all();
  lock.unlock();
  for (const AttemptPtr& attempt : Attempts()) attempt->StopUnlessRunning(StopReason::kDrain);
  lock.lock();
  ended_.wait_for(lock, wait, [&] { return IsIdle() || skip_wait_; });
  if (IsIdle()) return;

  milliseconds longest{0};
  for (const auto& [key, attempt] : attempts_) longest = std::max(longest, attempt->grace());
  lock.unlock();
  StopAll(StopReason::kDrain, std::nullopt);
  lock.lock();
  if (ended_.wait_for(lock, longest + kEndMargin, [&] { return IsIdle(); })) return;
  lock.unlock();
  StopAll(StopReason::kAbandon, milliseconds(0));  // their leases are given back by the next service
  lock.lock();
  ended_.wait(lock, [&] { return IsIdle(); });
}

void SlotExecutor::SkipDrainWait() {
  const std::lock_guard lock(mutex_);
  skip_wait_ = true;
  ended_.notify_all();
}

// ---- Slots ------------------------------------------------------------------------------------------------------

void SlotExecutor::RunSlot() {
  while (const AttemptPtr attempt = NextAttempt()) {
    attempt->Run();
    Forget(*attempt);
  }
}

// Blocks until there is one; nothing when no more are to be claimed.
SlotExecutor::AttemptPtr SlotExecutor::NextAttempt() {
  bool said = false;
  for (;;) {
    uint64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      if (draining_) return nullptr;
      seen = hints_;
      ++claiming_;
    }
    auto claim = context_.parts.store->ClaimNext();
    if (!claim && !said) LogError("claim_failed", {{"error", claim.error().message}});
    said = !claim;
    AttemptPtr attempt = claim && *claim ? Register(std::move(**claim)) : nullptr;
    std::unique_lock lock(mutex_);
    --claiming_;
    ended_.notify_all();
    if (attempt) {
      // A lost attempt of the same job has been killed, and must be gone before this one begins.
      ended_.wait(lock, [&] { return attempts_.lower_bound({attempt->claim().id, 0})->second == attempt; });
      return attempt;
    }
    work_.wait_for(lock, context_.options.poll, [&] { return draining_ || hints_ != seen; });
  }
}

SlotExecutor::AttemptPtr SlotExecutor::Register(queue::Claim claim) {
  const queue::ClaimRef ref{claim.id, claim.fence};
  const uint64_t log_bytes = claim.log_bytes, log_dropped = claim.log_dropped;
  auto attempt = Attempt::Make(std::move(claim), context_);
  if (!attempt) {
    LogError("attempt_not_started", {{"job", ref.id.value}, {"error", attempt.error().message}});
    (void)context_.parts.store->Release(ref, log_bytes, log_dropped);  // else its lease runs out
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  attempts_[{ref.id, ref.fence}] = *attempt;
  if (draining_) (*attempt)->StopUnlessRunning(StopReason::kDrain);
  return *attempt;
}

void SlotExecutor::Forget(const Attempt& attempt) {
  const std::lock_guard lock(mutex_);
  attempts_.erase({attempt.claim().id, attempt.claim().fence});
  ended_.notify_all();
}

// ---- Time -------------------------------------------------------------------------------------------------------

// Renews before it lets time pass: after a pause of this process, leases that are still held must not run out first.
void SlotExecutor::RunTime() {
  auto next_renewal = steady_clock::now();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (leaving_changed_.wait_for(lock, context_.options.tick, [&] { return leaving_; })) return;
    }
    if (steady_clock::now() >= next_renewal) {
      next_renewal = steady_clock::now() + context_.options.lease_renewal;
      RenewLeases();
    }
    LetTimePass();
  }
}

void SlotExecutor::RenewLeases() {
  std::vector<queue::ClaimRef> refs;
  for (const AttemptPtr& attempt : Attempts()) refs.push_back(attempt->ref());
  if (refs.empty()) return;
  const auto lost = context_.parts.store->Renew(refs);
  if (!lost) {
    LogError("leases_not_renewed", {{"error", lost.error().message}});
    return;
  }
  for (const queue::ClaimRef& ref : *lost) {
    AttemptPtr attempt;
    {
      const std::lock_guard lock(mutex_);
      const auto found = attempts_.find({ref.id, ref.fence});
      if (found != attempts_.end()) attempt = found->second;
    }
    if (attempt) attempt->Stop(StopReason::kAbandon, milliseconds(0));
  }
}

void SlotExecutor::LetTimePass() {
  const auto changed = context_.parts.store->Tick();
  if (!changed && !store_failing_) LogError("store_not_ticking", {{"error", changed.error().message}});
  store_failing_ = !changed;
}

// ---- From other threads -----------------------------------------------------------------------------------------

void SlotExecutor::OnJobQueued() {
  const std::lock_guard lock(mutex_);
  ++hints_;
  work_.notify_one();
}

std::vector<SlotExecutor::AttemptPtr> SlotExecutor::Attempts() const {
  const std::lock_guard lock(mutex_);
  std::vector<AttemptPtr> attempts;
  for (const auto& [key, attempt] : attempts_) attempts.push_back(attempt);
  return attempts;
}

void SlotExecutor::StopAll(StopReason reason, std::optional<milliseconds> grace) {
  for (const AttemptPtr& attempt : Attempts()) attempt->Stop(reason, grace.value_or(attempt->grace()));
}

void SlotExecutor::Stop(const queue::JobId& id, std::optional<uint32_t> grace_seconds) {
  for (const AttemptPtr& attempt : Attempts()) {
    if (attempt->claim().id != id) continue;
    attempt->Stop(StopReason::kCancel, grace_seconds ? seconds(*grace_seconds) : attempt->grace());
  }
}

std::optional<image::PullProgress> SlotExecutor::Progress(const queue::JobId& id) {
  for (const AttemptPtr& attempt : Attempts()) {
    if (attempt->claim().id == id) return attempt->progress();
  }
  return std::nullopt;
}

int SlotExecutor::busy() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(attempts_.size());
}

}  // namespace

Result<std::unique_ptr<Executor>> Executor::Start(const ExecutorOptions& options,
                                                  const ExecutorDependencies& dependencies) {
  auto executor = std::make_unique<SlotExecutor>(options, dependencies);
  TRY_IN("start executor", executor->TakeOver());
  executor->StartThreads();
  return executor;
}

}  // namespace caisson::executor
