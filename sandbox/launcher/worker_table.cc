// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/worker_table.h"

#include <sys/epoll.h>

#include "base/encoding.h"
#include "base/log.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kMaxWorkers = 64;  // at once; the service's own bound is far lower
// Whose removal waits: a layer of a million files is quickly sent and slowly deleted.
constexpr size_t kMaxDeadDirectories = 1024;

}  // namespace

struct WorkerTable::Worker {
  WorkerProcess process;
  Rootfs rootfs;          // pinned while it is shown to the worker
  std::string directory;  // in tmp/
  bool ended = false;
  bool timed_out = false;
  bool discarded = false;
  bool committing = false;
  int status = 0;
  EventLoop::WatchId watch = 0;
  EventLoop::TimerId deadline = 0;
};

WorkerTable::WorkerTable(EventLoop& loop, Environment& environment, LayerStore& store, Janitor& janitor,
                         Janitor& housekeeping, Options options, OnDone on_done)
    : loop_(loop),
      environment_(environment),
      store_(store),
      janitor_(janitor),
      housekeeping_(housekeeping),
      options_(options),
      on_done_(std::move(on_done)),
      workers_(kMaxWorkers) {}

WorkerTable::~WorkerTable() {
  for (const uint64_t handle : workers_.Handles()) {
    Worker& worker = *workers_.Find(handle);
    loop_.Unwatch(worker.watch);
    loop_.Cancel(worker.deadline);
  }
}

// ---- Start ------------------------------------------------------------------------------------------------------

Result<void> WorkerTable::CheckRoom() const {
  if (workers_.full()) return Fail(ErrorCode::kUnavailable, "{} store workers are at work already", workers_.size());
  if (housekeeping_.backlog() >= kMaxDeadDirectories)
    return Fail(ErrorCode::kUnavailable, "the files of {} layers still have to be deleted: try again later",
                housekeeping_.backlog());
  return {};
}

Result<WorkerHandle> WorkerTable::Start(WorkerVerb verb, int input, int report, Rootfs rootfs) {
  TRY(CheckRoom());
  return Launch(verb, input, report, std::move(rootfs), TRY(store_.MakeWorkDirectory()));
}

Result<WorkerHandle> WorkerTable::StartOn(WorkerVerb verb, int input, int report, Rootfs rootfs,
                                          std::string directory) {
  TRY(CheckRoom());
  Fd opened = TRY(store_.OpenWorkDirectory(directory));
  return Launch(verb, input, report, std::move(rootfs), {std::move(directory), std::move(opened)});
}

Result<WorkerHandle> WorkerTable::Launch(WorkerVerb verb, int input, int report, Rootfs rootfs,
                                         LayerStore::WorkDirectory directory) {
  const std::vector<int> layers = rootfs.directories();
  WorkerRequest request;
  request.verb = verb;
  request.name = "worker-" + directory.name;
  request.program = options_.program;
  request.input = input;
  request.report = report;
  request.directory = directory.directory.get();
  request.layers_top_first = layers;
  Result<WorkerProcess> process = WorkerProcess::Start(request, environment_);
  if (!process) {
    RemoveDirectory(directory.name);
    return tl::unexpected(std::move(process).error());
  }
  auto owned = std::unique_ptr<Worker>(new Worker{std::move(*process), std::move(rootfs), std::move(directory.name)});
  Worker& worker = *owned;
  const uint64_t handle = workers_.Insert(std::move(owned));
  worker.watch = loop_.Watch(worker.process.pidfd(), EPOLLIN, [this, handle](uint32_t) { OnEnd(handle); });
  worker.deadline = loop_.After(options_.deadline, [this, handle] {
    Worker* late = workers_.Find(handle);
    if (late == nullptr || late->ended) return;
    late->timed_out = true;
    late->process.Kill();
  });
  return WorkerHandle{handle};
}

// ---- End --------------------------------------------------------------------------------------------------------

void WorkerTable::OnEnd(uint64_t handle) {
  Worker* worker = workers_.Find(handle);
  if (worker == nullptr) return;
  loop_.Unwatch(worker->watch);
  loop_.Cancel(worker->deadline);
  const Result<ChildEnd> end = worker->process.Reap();
  worker->ended = true;
  worker->status = !end ? 127 : end->signaled ? 128 + end->status : end->status;
  worker->rootfs = Rootfs();
  if (const std::string complaint = worker->process.Complaint(); !complaint.empty())
    LogWarn("store_worker_stderr", {{"status", worker->status}, {"text", EscapeForLog(complaint, 1000)}});
  if (worker->discarded) {
    RemoveDirectory(worker->directory);
    Forget(handle);
    return;
  }
  on_done_(WorkerHandle{handle}, WorkerExit{worker->status, worker->timed_out});
}

Result<WorkerTable::Worker*> WorkerTable::Find(WorkerHandle handle) const {
  Worker* worker = workers_.Find(handle.value);
  if (worker == nullptr || worker->discarded) return Fail(ErrorCode::kNotFound, "no such store worker");
  return worker;
}

Result<void> WorkerTable::Kill(WorkerHandle handle) {
  Worker* worker = TRY(Find(handle));
  if (!worker->ended) worker->process.Kill();
  return {};
}

Result<void> WorkerTable::Discard(WorkerHandle handle) {
  Worker* worker = TRY(Find(handle));
  if (worker->committing || !worker->ended) {
    worker->discarded = true;  // the rest follows the end of either
    if (!worker->ended) worker->process.Kill();
    return {};
  }
  RemoveDirectory(worker->directory);
  Forget(handle.value);
  return {};
}

void WorkerTable::DiscardAll() {
  for (const uint64_t handle : workers_.Handles()) (void)Discard(WorkerHandle{handle});
}

void WorkerTable::Forget(uint64_t handle) {
  (void)workers_.Take(handle);
  if (workers_.size() == 0 && on_idle_) on_idle_();
}

void WorkerTable::RemoveDirectory(const std::string& name) {
  housekeeping_.Remove(name, [name](Result<void> result) {
    if (!result) LogWarn("directory_not_removed", {{"name", name}, {"error", EscapeForLog(result.error().message)}});
  });
}

// ---- Commit -----------------------------------------------------------------------------------------------------

Result<WorkerTable::Worker*> WorkerTable::FindCommittable(WorkerHandle handle) const {
  Worker* worker = TRY(Find(handle));
  if (!worker->ended) return Fail(ErrorCode::kConflict, "the store worker still runs");
  if (worker->status != 0) return Fail(ErrorCode::kConflict, "the store worker failed with status {}", worker->status);
  if (worker->committing) return Fail(ErrorCode::kConflict, "the store worker's layer is being committed");
  return worker;
}

void WorkerTable::Commit(WorkerHandle handle, const LayerName& name, Fd opaque_directories, uint32_t count,
                         JanitorDone done) {
  const Result<Worker*> found = FindCommittable(handle);
  if (!found) return done(tl::unexpected(found.error()));
  Worker& worker = **found;
  worker.committing = true;
  janitor_.Commit(worker.directory, name, std::move(opaque_directories), count,
                  [this, handle, name, done = std::move(done)](Result<void> result) {
                    Worker& committed = *workers_.Find(handle.value);  // Discard() waits for this
                    committed.committing = false;
                    // After a success it is still there only if another had brought that layer before.
                    if (result || committed.discarded) RemoveDirectory(committed.directory);
                    if (result) housekeeping_.Measure(name);
                    if (result || committed.discarded) Forget(handle.value);
                    done(std::move(result));
                  });
}

}  // namespace caisson::sandbox
