// SPDX-License-Identifier: Apache-2.0
// LayerPuller brings layers into the store: one download and one worker for a digest, however many pulls want it, and
// none where the store has it and this repository has sent it before: naming the digest of another's layer gives it to
// nobody. A stored layer counts only with our own record of its diff_id: what an image's config claims of a digest
// proves nothing. Safe on any thread; owned by the ImageStore.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "image/image.h"
#include "image/key_locks.h"
#include "image/manifest.h"
#include "image/records.h"
#include "image/registry_client.h"
#include "image/store_port.h"

namespace caisson::image {

struct MergedImage {
  LayerName fixup;
  std::vector<LayerName> rootfs;  // top first, with the fix-up layer
  MergeReport report;
};

class LayerPuller {
 public:
  LayerPuller(StorePort& store, const Records& records, KeyLocks& locks)
      : store_(store), records_(records), locks_(locks) {}

  // What we verified of `layer`, which the store has when this returns, and which `registry` has sent us at least once.
  // `on_bytes` counts compressed bytes, those of a layer that was there already too. kCorrupt where its diff_id is not
  // `diff_id`.
  using OnBytes = std::function<void(uint64_t)>;
  Result<UnpackReport> Ensure(RegistryClient& registry, const LayerDescriptor& layer, const Digest& diff_id,
                              const OnBytes& on_bytes, const std::atomic<bool>* cancelled);

  // Layers base first, a layer that comes twice included twice. The fix-up layer is in the store when this returns.
  struct Layer {
    Digest digest;
    UnpackReport report;
  };
  Result<MergedImage> Merge(std::span<const Layer> layers, const std::atomic<bool>* cancelled);

 private:
  Result<void> ProveServed(RegistryClient& registry, const Descriptor& layer, const OnBytes& on_bytes);
  Result<UnpackReport> Download(RegistryClient& registry, const LayerDescriptor& layer, const Digest& diff_id,
                                const OnBytes& on_bytes, const std::atomic<bool>* cancelled);
  Result<MergeReport> RunMerge(std::span<const Layer> layers, std::span<const LayerName> top_first,
                               const LayerName& fixup, const std::atomic<bool>* cancelled);

  StorePort& store_;
  const Records& records_;
  KeyLocks& locks_;
};

}  // namespace caisson::image
