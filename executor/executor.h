// SPDX-License-Identifier: Apache-2.0
// Executor: runs claimed jobs. It has `slots` threads; each claims a job, brings its image, launches it, copies its
// output to the log, judges how it ended and finishes the claim, in straight blocking code (executor/attempt.h). One
// more thread renews leases and lets time pass in the store. Owned by the service's main.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "executor/launcher_port.h"
#include "image/image_store.h"
#include "queue/log_store.h"
#include "queue/store.h"

namespace caisson::executor {

struct ExecutorOptions {
  int slots = 4;
  uint64_t memory_bytes = 0;  // that jobs may have together; 0: without bound
  std::chrono::milliseconds lease_renewal{10'000};
  std::chrono::milliseconds tick{200};
  std::chrono::milliseconds poll{1000};         // an idle slot looks by itself: hints may get lost, jobs not
  std::chrono::milliseconds output_wait{2000};  // for the end of the pipes after the exit
  image::PullPolicy pull_policy = image::PullPolicy::kAlways;  // of jobs that say none
  const Clock* clock = &SystemClock();
};

struct ExecutorDependencies {
  queue::JobStore* store = nullptr;
  queue::LogStore* logs = nullptr;
  image::ImageStore* images = nullptr;
  LauncherPort* launcher = nullptr;
};

class Executor {
 public:
  // Kills sandboxes that an earlier service left in the launcher, gives their jobs back, then starts claiming.
  static Result<std::unique_ptr<Executor>> Start(const ExecutorOptions& options,
                                                 const ExecutorDependencies& dependencies);
  virtual ~Executor() = default;

  virtual void OnJobQueued() = 0;  // a hint: something may be claimable. Any thread.
  virtual void OnExited(sandbox::SandboxHandle handle, sandbox::ExitReport report) = 0;  // from LauncherEvents
  virtual void Stop(const queue::JobId& id, std::optional<uint32_t> grace_seconds) = 0;  // of a cancelled job
  virtual std::optional<image::PullProgress> Progress(const queue::JobId& id) = 0;
  virtual int busy() const = 0;
  // No new claims; running jobs get `wait` to end, then the stop sequence, and go back to the queue. Blocks.
  virtual void Drain(std::chrono::milliseconds wait) = 0;
  virtual void SkipDrainWait() = 0;  // a second SIGTERM. Any thread.
};

}  // namespace caisson::executor
