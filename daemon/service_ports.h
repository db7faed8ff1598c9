// SPDX-License-Identifier: Apache-2.0
// The adapters that join parts which must not know each other: image/ to the launcher's layer store, api/ to
// running jobs and the node. Owned by the service's main; thread-safe where their interfaces say so.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/ports.h"
#include "executor/executor.h"
#include "image/image_store.h"
#include "image/store_port.h"
#include "sandbox/launcher_client.h"

namespace caisson::daemon {

// The ends of store workers: the launcher's event thread reports them, the thread that pulls waits for one.
class WorkerExits {
 public:
  void Report(sandbox::WorkerHandle handle, sandbox::WorkerExit exit);
  // Blocks until the worker's end was reported, or everything closed.
  std::optional<sandbox::WorkerExit> Wait(sandbox::WorkerHandle handle);
  void Close();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, sandbox::WorkerExit> ended_;
  bool closed_ = false;
};

// Ends of sandboxes on their way to the executor. What the launcher reports before the executor is there is kept.
class SandboxExits {
 public:
  void Report(sandbox::SandboxHandle handle, sandbox::ExitReport report);
  void Attach(executor::Executor& executor);

 private:
  std::mutex mutex_;
  executor::Executor* executor_ = nullptr;
  std::vector<std::pair<sandbox::SandboxHandle, sandbox::ExitReport>> early_;
};

// image::StorePort over the launcher.
class LayerTree final : public image::StorePort {
 public:
  explicit LayerTree(WorkerExits& exits) : exits_(exits) {}
  void Attach(sandbox::LauncherClient* launcher) { launcher_ = launcher; }  // once, before the first call

  Result<std::unique_ptr<image::StoreWorker>> StartUnpack(int input, int report) override;
  Result<std::unique_ptr<image::StoreWorker>> StartMerge(int input, int report,
                                                         std::span<const LayerName> layers_top_first) override;
  Result<std::unique_ptr<image::StoreWorker>> StartVerify(int input, int report, const LayerName& layer) override;
  Result<std::unique_ptr<image::StoreWorker>> StartExport(int input, int output,
                                                          std::span<const LayerName> layers_top_first) override;
  Result<bool> HasLayer(const LayerName& name) override;
  Result<void> RemoveLayer(const LayerName& name) override;
  Result<std::vector<image::StoredLayer>> ListLayers() override;

 private:
  Result<std::unique_ptr<image::StoreWorker>> Start(sandbox::WorkerVerb verb, int input, int report,
                                                    std::span<const LayerName> layers);
  WorkerExits& exits_;
  sandbox::LauncherClient* launcher_ = nullptr;
};

class RunningJobs final : public api::JobsPort {
 public:
  RunningJobs(executor::Executor& executor, std::vector<std::string> unenforceable)
      : executor_(executor), unenforceable_(std::move(unenforceable)) {}
  std::vector<std::string> Unenforceable() override { return unenforceable_; }
  std::optional<api::PullProgress> Progress(const queue::JobId& id) override;
  void StopRunning(const queue::JobId& id, std::optional<uint32_t> grace_seconds) override;

 private:
  executor::Executor& executor_;
  const std::vector<std::string> unenforceable_;
};

class Node final : public api::NodePort {
 public:
  Node(sandbox::LauncherClient& launcher, executor::Executor& executor, int slots)
      : launcher_(launcher), executor_(executor), slots_(slots) {}
  Result<std::string> NodeJson() override { return launcher_.Node(); }
  api::NodeMetrics Metrics() override { return {.slots = slots_, .busy = executor_.busy()}; }
  bool Draining() override { return draining_; }
  void SetDraining() { draining_ = true; }

 private:
  sandbox::LauncherClient& launcher_;
  executor::Executor& executor_;
  const int slots_;
  std::atomic<bool> draining_ = false;
};

}  // namespace caisson::daemon
