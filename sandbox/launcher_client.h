// SPDX-License-Identifier: Apache-2.0
// LauncherClient: the service's end of its channel to the launcher (sandbox/protocol.h): an inherited SEQPACKET
// socket. Calls block for one round trip and are safe on any thread; one reader thread of its own hands replies to
// their callers and events to the functions below, which must be quick and must not call back into this object.
// Owned by the service's main; when the channel closes, on_closed runs and the service ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

struct RootfsHandle {
  uint64_t value = 0;
};
struct SandboxHandle {
  uint64_t value = 0;
};
struct WorkerHandle {
  uint64_t value = 0;
};

enum class Stream : uint32_t { kStdout = 1, kStderr = 2 };

struct Launched {
  SandboxHandle handle;
  Fd stdout_pipe;  // read ends, duplicates: copy with tee(2), then say Drained
  Fd stderr_pipe;
  uint32_t unenforced = 0;  // bits of Unenforced
};

struct RunningSandbox {
  SandboxHandle handle;
  std::string id;  // SandboxSpec::id
};

enum class WorkerVerb : uint32_t { kUnpack = 1, kMerge = 2, kRemove = 3, kVerify = 4, kExport = 5 };

struct WorkerExit {
  int wait_status = 0;     // as waitid gives it: exit code, or 128 + signal
  bool timed_out = false;  // killed by the launcher's deadline for workers
};

struct StoredLayer {
  LayerName name;
  uint64_t bytes = 0;   // on disk
  bool in_use = false;  // open in a rootfs
};

// Either of the first two may run before the call that made the handle has returned to its caller.
struct LauncherEvents {
  std::function<void(SandboxHandle, ExitReport)> on_exited;
  std::function<void(WorkerHandle, WorkerExit)> on_worker_done;
  std::function<void()> on_closed;
};

class LauncherClient {
 public:
  // Takes the channel and starts the reader.
  static Result<std::unique_ptr<LauncherClient>> Open(Fd channel, LauncherEvents events);
  ~LauncherClient();

  // Opens the layers, top first, and keeps them open: the pin. kNotFound names a layer that the store lacks.
  Result<RootfsHandle> OpenRootfs(std::span<const LayerName> layers_top_first);
  Result<void> CloseRootfs(RootfsHandle handle);

  // Starts what `spec` describes on a rootfs of its own. `payload` (borrowed, -1 for none) is a sealed memory file or
  // a regular file opened read-only. Returns after pid 1's exec: a failed set-up is an error here ("mount proc:
  // EPERM", code kInternal), a failed exec of the payload comes with on_exited. kUnsupported under isolation =
  // "strict" where a limit cannot be enforced.
  Result<Launched> Launch(RootfsHandle rootfs, const SandboxSpec& spec, int payload);
  // Stop signal now, cgroup.kill after `grace`. Idempotent; kNotFound once it was reported as exited.
  Result<void> Stop(SandboxHandle handle, std::chrono::milliseconds grace);
  Result<void> Kill(SandboxHandle handle);
  Result<std::vector<RunningSandbox>> List();
  // The log holds the stream's bytes up to `position` (counted from the sandbox's start): the launcher takes them
  // out of the pipe. Returns when that is done.
  Result<void> Drained(SandboxHandle handle, Stream stream, uint64_t position);

  // Starts a store worker (image/worker) on an empty directory of its own. `input` and `report` are borrowed: the
  // worker reads its bytes from the one and writes its report to the other. `layers_top_first` are shown to kMerge,
  // kVerify (one) and kExport read-only, and stay open, thus in use, until the worker ends; kRemove gets nothing but
  // the directory to empty, named by `layers_top_first[0]`. The directory of kVerify and kExport is read-only too.
  Result<WorkerHandle> StartWorker(WorkerVerb verb, int input, int report, std::span<const LayerName> layers_top_first);
  Result<void> KillWorker(WorkerHandle handle);
  // After on_worker_done with status 0: the worker's directory becomes layer `name`, durably. `opaque` lists the
  // directories (relative paths) that get trusted.overlay.opaque. An existing layer of that name is kept and the new
  // directory dropped.
  Result<void> CommitLayer(WorkerHandle handle, const LayerName& name, std::span<const std::string> opaque);
  // Drops a finished worker's directory without committing.
  Result<void> DiscardWorker(WorkerHandle handle);
  // kConflict while the layer is open in a rootfs.
  Result<void> RemoveLayer(const LayerName& name);
  Result<std::vector<StoredLayer>> ListLayers();

  // What `caisson doctor` shows, as JSON text (sandbox/launcher/doctor.h).
  Result<std::string> Node();
  // Asks the launcher to end everything in order.
  Result<void> Shutdown();

 private:
  class Core;
  explicit LauncherClient(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace caisson::sandbox
