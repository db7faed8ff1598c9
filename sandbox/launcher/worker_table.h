// SPDX-License-Identifier: Apache-2.0
// WorkerTable: store workers and the directories that they filled, from start to commit or discard. Each has a
// deadline here. Owned by the Server, on the launcher's thread; slow work on directories goes to the store's janitor.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/result.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/handle_table.h"
#include "sandbox/launcher/janitor.h"
#include "sandbox/launcher/layer_store.h"
#include "sandbox/launcher/worker_process.h"
#include "sandbox/launcher_client.h"

namespace caisson::sandbox {

inline constexpr std::chrono::minutes kWorkerDeadline{30};

class WorkerTable {
 public:
  using OnDone = std::function<void(WorkerHandle, WorkerExit)>;
  struct Options {
    int program = -1;  // caisson-worker; borrowed
    std::chrono::milliseconds deadline = kWorkerDeadline;
  };
  // `janitor` commits; `housekeeping` removes and measures, and may have much to do.
  WorkerTable(EventLoop& loop, Environment& environment, LayerStore& store, Janitor& janitor, Janitor& housekeeping,
              Options options, OnDone on_done);
  ~WorkerTable();

  // On an empty directory of its own. `rootfs` are the layers that a merge is shown.
  Result<WorkerHandle> Start(WorkerVerb verb, int input, int report, Rootfs rootfs);
  // On tmp/`directory`, which is removed when the worker is discarded.
  Result<WorkerHandle> StartOn(WorkerVerb verb, int input, int report, Rootfs rootfs, std::string directory);
  Result<void> Kill(WorkerHandle handle);
  // Its end, if it still runs, and its directory's.
  Result<void> Discard(WorkerHandle handle);
  void DiscardAll();
  // kConflict unless it has ended with status 0. `done` may run at any later time; on an error the directory is still
  // there, for Discard().
  void Commit(WorkerHandle handle, const LayerName& name, Fd opaque_directories, uint32_t count, JanitorDone done);

  size_t size() const { return workers_.size(); }
  void set_on_idle(std::function<void()> on_idle) { on_idle_ = std::move(on_idle); }

 private:
  struct Worker;
  Result<WorkerHandle> Launch(WorkerVerb verb, int input, int report, Rootfs rootfs,
                              LayerStore::WorkDirectory directory);
  Result<void> CheckRoom() const;
  Result<Worker*> Find(WorkerHandle handle) const;
  Result<Worker*> FindCommittable(WorkerHandle handle) const;
  void OnEnd(uint64_t handle);
  void Forget(uint64_t handle);
  void RemoveDirectory(const std::string& name);

  EventLoop& loop_;
  Environment& environment_;
  LayerStore& store_;
  Janitor& janitor_;
  Janitor& housekeeping_;
  Options options_;
  OnDone on_done_;
  std::function<void()> on_idle_;
  HandleTable<Worker> workers_;
};

}  // namespace caisson::sandbox
