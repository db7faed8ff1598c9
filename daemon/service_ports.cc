// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_ports.h"

#include <signal.h>

#include "base/log.h"

namespace caisson::daemon {
namespace {

using sandbox::LauncherClient, sandbox::WorkerExit, sandbox::WorkerHandle, sandbox::WorkerVerb;

// One store worker of the launcher.
class LauncherWorker final : public image::StoreWorker {
 public:
  LauncherWorker(LauncherClient& launcher, WorkerExits& exits, WorkerHandle handle)
      : launcher_(launcher), exits_(exits), handle_(handle) {}

  ~LauncherWorker() override {
    if (committed_) return;
    if (!ended_) {
      if (!launcher_.KillWorker(handle_)) return;  // the launcher is gone, and the worker with it
      exits_.Wait(handle_);
    }
    if (const Result<void> discarded = launcher_.DiscardWorker(handle_); !discarded)
      LogWarn("worker_not_discarded", {{"error", discarded.error().message}});
  }

  Result<void> Wait() override {
    const std::optional<WorkerExit> exit = exits_.Wait(handle_);
    if (!exit) return Fail(ErrorCode::kUnavailable, "the launcher has gone");
    ended_ = true;
    if (exit->timed_out) return Fail(ErrorCode::kTimedOut, "the store worker took too long and was stopped");
    if (exit->wait_status == 0) return {};
    // Its memory ran out, or somebody did it by hand: it may go well the next time, of which there are few.
    if (exit->wait_status == 128 + SIGKILL)
      return Fail(ErrorCode::kUnavailable, "the store worker was killed (signal {})", SIGKILL);
    if (exit->wait_status > 128)
      return Fail(ErrorCode::kCorrupt, "the store worker was ended by signal {}", exit->wait_status - 128);
    return Fail(ErrorCode::kCorrupt, "the store worker ended with status {}", exit->wait_status);
  }

  Result<void> Commit(const LayerName& name, std::span<const std::string> opaque_directories) override {
    TRY(launcher_.CommitLayer(handle_, name, opaque_directories));
    committed_ = true;
    return {};
  }

 private:
  LauncherClient& launcher_;
  WorkerExits& exits_;
  const WorkerHandle handle_;
  bool ended_ = false;
  bool committed_ = false;
};

}  // namespace

void WorkerExits::Report(WorkerHandle handle, WorkerExit exit) {
  const std::lock_guard lock(mutex_);
  ended_[handle.value] = exit;
  changed_.notify_all();
}

std::optional<WorkerExit> WorkerExits::Wait(WorkerHandle handle) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || ended_.contains(handle.value); });
  const auto found = ended_.extract(handle.value);
  if (!found) return std::nullopt;
  return found.mapped();
}

void WorkerExits::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void SandboxExits::Report(sandbox::SandboxHandle handle, sandbox::ExitReport report) {
  const std::lock_guard lock(mutex_);
  if (executor_) {
    executor_->OnExited(handle, std::move(report));
  } else {
    early_.emplace_back(handle, std::move(report));
  }
}

void SandboxExits::Attach(executor::Executor& executor) {
  const std::lock_guard lock(mutex_);
  executor_ = &executor;
  for (auto& [handle, report] : early_) executor.OnExited(handle, std::move(report));
  early_.clear();
}

Result<std::unique_ptr<image::StoreWorker>> LayerTree::Start(WorkerVerb verb, int input, int report,
                                                             std::span<const LayerName> layers) {
  const WorkerHandle handle = TRY(launcher_->StartWorker(verb, input, report, layers));
  return std::make_unique<LauncherWorker>(*launcher_, exits_, handle);
}

Result<std::unique_ptr<image::StoreWorker>> LayerTree::StartUnpack(int input, int report) {
  return Start(WorkerVerb::kUnpack, input, report, {});
}

Result<std::unique_ptr<image::StoreWorker>> LayerTree::StartMerge(int input, int report,
                                                                  std::span<const LayerName> layers_top_first) {
  return Start(WorkerVerb::kMerge, input, report, layers_top_first);
}

Result<std::unique_ptr<image::StoreWorker>> LayerTree::StartVerify(int input, int report, const LayerName& layer) {
  return Start(WorkerVerb::kVerify, input, report, {&layer, 1});
}

Result<std::unique_ptr<image::StoreWorker>> LayerTree::StartExport(int input, int output,
                                                                   std::span<const LayerName> layers_top_first) {
  return Start(WorkerVerb::kExport, input, output, layers_top_first);
}

Result<void> LayerTree::RemoveLayer(const LayerName& name) { return launcher_->RemoveLayer(name); }

Result<std::vector<image::StoredLayer>> LayerTree::ListLayers() {
  std::vector<image::StoredLayer> layers;
  for (const sandbox::StoredLayer& layer : TRY(launcher_->ListLayers()))
    layers.push_back({layer.name, layer.bytes, layer.in_use});
  return layers;
}

Result<bool> LayerTree::HasLayer(const LayerName& name) {
  const Result<sandbox::RootfsHandle> pin = launcher_->OpenRootfs({&name, 1});
  if (!pin && pin.error().code == ErrorCode::kNotFound) return false;
  if (!pin) return tl::unexpected(pin.error());
  TRY(launcher_->CloseRootfs(*pin));
  return true;
}

std::optional<api::PullProgress> RunningJobs::Progress(const queue::JobId& id) {
  const std::optional<image::PullProgress> progress = executor_.Progress(id);
  if (!progress) return std::nullopt;
  return api::PullProgress{.bytes_done = progress->bytes_done, .bytes_total = progress->bytes_total};
}

void RunningJobs::StopRunning(const queue::JobId& id, std::optional<uint32_t> grace_seconds) {
  executor_.Stop(id, grace_seconds);
}

}  // namespace caisson::daemon
