// SPDX-License-Identifier: Apache-2.0
// StorePort: what image/ needs of whoever owns the layer tree (the launcher, reached through sandbox::LauncherClient;
// the adapter is in daemon/, since image/ and sandbox/ never see each other). Blocking, safe on any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::image {

// One store worker, from its start to the fate of its directory. Destroying it without Commit() kills the worker and
// discards what it wrote.
class StoreWorker {
 public:
  virtual ~StoreWorker() = default;
  // Waits for its end. An error says how it ended badly: exit status, signal, deadline.
  virtual Result<void> Wait() = 0;
  // After Wait(): the worker's directory becomes layer `name`, durably.
  virtual Result<void> Commit(const LayerName& name, std::span<const std::string> opaque_directories) = 0;
};

struct StoredLayer {
  LayerName name;
  uint64_t bytes = 0;   // on disk
  bool in_use = false;  // a job runs from it, or a worker reads it
};

class StorePort {
 public:
  virtual ~StorePort() = default;
  // `input` and `report` are borrowed for the call; the worker holds duplicates.
  virtual Result<std::unique_ptr<StoreWorker>> StartUnpack(int input, int report) = 0;
  virtual Result<std::unique_ptr<StoreWorker>> StartMerge(int input, int report,
                                                          std::span<const LayerName> layers_top_first) = 0;
  // Reads a stored layer and writes a VerifyReport. Nothing to commit.
  virtual Result<std::unique_ptr<StoreWorker>> StartVerify(int input, int report, const LayerName& layer) = 0;
  // Reads a MergeOrder and writes the merged root as a tar archive, framed (image/layer/framed_output.h). Nothing to
  // commit. The layers stay in the store while it runs.
  virtual Result<std::unique_ptr<StoreWorker>> StartExport(int input, int output,
                                                           std::span<const LayerName> layers_top_first) = 0;
  virtual Result<bool> HasLayer(const LayerName& name) = 0;
  // kConflict while it is in use, kNotFound. On return no crash can bring it back; its files go away later.
  virtual Result<void> RemoveLayer(const LayerName& name) = 0;
  virtual Result<std::vector<StoredLayer>> ListLayers() = 0;
};

}  // namespace caisson::image
