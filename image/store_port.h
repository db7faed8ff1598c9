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

class StorePort {
 public:
  virtual ~StorePort() = default;
  // `input` and `report` are borrowed for the call; the worker holds duplicates.
  virtual Result<std::unique_ptr<StoreWorker>> StartUnpack(int input, int report) = 0;
  virtual Result<std::unique_ptr<StoreWorker>> StartMerge(int input, int report,
                                                          std::span<const LayerName> layers_top_first) = 0;
  virtual Result<bool> HasLayer(const LayerName& name) = 0;
};

}  // namespace caisson::image
