// SPDX-License-Identifier: Apache-2.0
// Attempt: one execution of a claimed job, from its image to its outcome, in straight blocking code on a slot's thread.
// Other threads may ask it to stop, tell it of the sandbox's exit and read its progress. Owned by the executor.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "base/fd.h"
#include "executor/executor.h"
#include "executor/exits.h"
#include "executor/image_access.h"
#include "executor/launcher_port.h"
#include "executor/memory_budget.h"
#include "image/image_store.h"
#include "queue/log_store.h"
#include "queue/store.h"

namespace caisson::executor {

// What all attempts share; owned by the executor, which outlives them.
struct AttemptContext {
  ExecutorDependencies parts;
  ExecutorOptions options;
  Exits exits;
  MemoryBudget memory{options.memory_bytes};
};

// Why an attempt is asked to end before its time; a greater one replaces a smaller.
enum class StopReason {
  kNone,
  kDrain,    // the service stops: back to the queue
  kCancel,   // its user's wish: cancelled
  kAbandon,  // the lease is another's by now: results are dropped
};

class Attempt {
 public:
  static Result<std::shared_ptr<Attempt>> Make(queue::Claim claim, AttemptContext& context);

  // All of it, in the end Finish() or Release(). Once, on the slot's thread.
  void Run();

  // Any thread. A pull ends soon; a sandbox gets its stop signal now and the kill after `grace` (with kAbandon at
  // once). May block for a round trip to the launcher.
  void Stop(StopReason reason, std::chrono::milliseconds grace);
  // Stops it only while nothing runs yet.
  void StopUnlessRunning(StopReason reason);
  std::optional<image::PullProgress> progress() const;

  const queue::Claim& claim() const { return claim_; }
  queue::ClaimRef ref() const { return {claim_.id, claim_.fence}; }
  std::chrono::milliseconds grace() const { return std::chrono::seconds(claim_.spec.grace_seconds); }

 private:
  Attempt(queue::Claim claim, AttemptContext& context, Fd exited);

  queue::Outcome Execute(queue::LogWriter& log);
  bool WasStoppedBefore();
  Result<image::ImageRecord> BringImage();
  ImageRequest ImageRequestOf() const;
  Result<void> StoreDigest(const Digest& digest);
  Result<sandbox::RootfsHandle> OpenRootfs(image::ImageRecord& image);
  Result<Fd> MakePayload();
  queue::Outcome NeedsMoreThanTheNodeHas() const;
  queue::Outcome RunSandbox(sandbox::RootfsHandle rootfs, const sandbox::SandboxSpec& spec, int payload,
                            queue::LogWriter& log);
  queue::Outcome Watch(sandbox::Launched launched, const sandbox::SandboxSpec& spec, queue::LogWriter& log);
  void SayRunning(uint32_t unenforced);
  void End(const queue::Outcome& outcome, std::unique_ptr<queue::LogWriter> log);
  Result<void> Commit(const queue::Outcome& outcome, const queue::LogState& log, bool give_back);
  image::PullContext PullContextOf();
  StopReason stop_reason() const;
  void TellLauncher(sandbox::SandboxHandle handle, StopReason reason, std::chrono::milliseconds grace);

  const queue::Claim claim_;
  AttemptContext& context_;
  const ExecutorDependencies& parts_;
  const Fd exited_;                     // eventfd: the exit report has come
  image::ResolvedReference reference_;  // the slot's thread, as is the next
  bool stopped_by_us_ = false;          // and by nothing else

  std::atomic<bool> pull_cancelled_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable stop_changed_;
  StopReason stop_ = StopReason::kNone;
  std::chrono::milliseconds stop_grace_{0};
  bool launching_ = false;                        // past the point where a stop could still prevent the launch
  std::optional<sandbox::SandboxHandle> handle_;  // while it runs
  std::optional<image::PullProgress> progress_;   // while it pulls
};

}  // namespace caisson::executor
