// SPDX-License-Identifier: Apache-2.0
// WorkerStore: a StorePort for tests that runs the real caisson-worker as the launcher does (user, mount, pid, net and
// ipc namespaces of its own, an idmapped `out`), on a temporary directory: layers/ and tmp/ below it. Needs root.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "image/store_port.h"

namespace caisson::image {

class WorkerStore : public StorePort {
 public:
  explicit WorkerStore(std::string directory);

  Result<std::unique_ptr<StoreWorker>> StartUnpack(int input, int report) override;
  Result<std::unique_ptr<StoreWorker>> StartMerge(int input, int report,
                                                  std::span<const LayerName> layers_top_first) override;
  Result<std::unique_ptr<StoreWorker>> StartVerify(int input, int report, const LayerName& layer) override;
  Result<std::unique_ptr<StoreWorker>> StartExport(int input, int output,
                                                   std::span<const LayerName> layers_top_first) override;
  Result<bool> HasLayer(const LayerName& name) override;

  // Empties the layer's directory with a worker and removes it.
  Result<void> RemoveLayer(const LayerName& name) override;
  Result<std::vector<StoredLayer>> ListLayers() override;

  std::string PathOf(const LayerName& name) const { return directory_ + "/layers/" + name.hex(); }
  std::vector<std::string> TemporaryNames() const;  // what is left in tmp/
  int started() const { return started_; }
  // When set, each worker runs under `strace -f -o FILE.N`.
  void TraceTo(std::string file) { trace_ = std::move(file); }

 private:
  friend class RunningWorker;
  Result<std::unique_ptr<StoreWorker>> StartNew(const char* verb, int input, int report,
                                                std::span<const LayerName> layers_top_first);
  Result<pid_t> Start(const char* verb, const std::string& out, int input, int report,
                      std::span<const LayerName> layers_top_first);

  const std::string directory_;
  std::string trace_;
  std::mutex mutex_;
  std::atomic<int> started_ = 0;
};

// The merged image as a job would see it: an overlay of the layers, top first, mounted read-only at `target` in a
// mount namespace of this thread's own.
Result<void> MountOverlay(const WorkerStore& store, std::span<const LayerName> layers_top_first,
                          const std::string& target);
void UnmountOverlay(const std::string& target);

}  // namespace caisson::image
