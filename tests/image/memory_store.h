// SPDX-License-Identifier: Apache-2.0
// MemoryStore: a StorePort for tests of what the service does around workers. It keeps layers as bytes and plays the
// workers on threads: a layer has to be uncompressed, its tree is its bytes. A test may let any step fail or wait.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "image/store_port.h"
#include "tests/image/scripted_registry.h"

namespace caisson::image {

class MemoryStore : public StorePort {
 public:
  // Called before each step, on its thread: "unpack", "merge", "verify", "export", "commit", "has", "remove", "list".
  using OnStep = std::function<Result<void>(std::string_view step, const LayerName& name)>;
  void SetOnStep(OnStep on_step);

  Result<std::unique_ptr<StoreWorker>> StartUnpack(int input, int report) override;
  Result<std::unique_ptr<StoreWorker>> StartMerge(int input, int report,
                                                  std::span<const LayerName> layers_top_first) override;
  Result<std::unique_ptr<StoreWorker>> StartVerify(int input, int report, const LayerName& layer) override;
  Result<std::unique_ptr<StoreWorker>> StartExport(int input, int output,
                                                   std::span<const LayerName> layers_top_first) override;
  Result<bool> HasLayer(const LayerName& name) override;
  Result<void> RemoveLayer(const LayerName& name) override;
  Result<std::vector<StoredLayer>> ListLayers() override;

  void SetInUse(const LayerName& name, bool in_use);
  void Damage(const LayerName& name);
  bool Has(const LayerName& name) const;
  size_t size() const;
  int started(const std::string& verb) const;  // workers

 private:
  friend class MemoryWorker;
  struct Layer {
    std::string bytes;
    bool in_use = false;
  };
  Result<void> Step(std::string_view step, const LayerName& name);
  Result<std::string> BytesOf(const LayerName& name) const;

  mutable std::mutex mutex_;
  OnStep on_step_;
  std::map<LayerName, Layer> layers_;
  std::map<std::string, int> started_;
};

// An image whose layers the MemoryStore can unpack.
ScriptedImage PlainImageOf(const std::vector<std::string>& layers);

}  // namespace caisson::image
