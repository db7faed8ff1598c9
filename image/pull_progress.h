// SPDX-License-Identifier: Apache-2.0
// LayersProgress collects how far the layers of one pull are, from whichever threads bring them, and tells the pull's
// caller: at each change of a state, and every so many bytes. Lives as long as the pull.
#pragma once

#include <mutex>

#include "image/image_store.h"
#include "image/layer_pull.h"
#include "image/manifest.h"

namespace caisson::image {

class LayersProgress {
 public:
  LayersProgress(const PullContext& context, const Manifest& manifest);
  LayerListener ListenerOf(size_t layer);

 private:
  void SetState(size_t layer, LayerProgress::State state);
  void AddBytes(size_t layer, uint64_t bytes);
  void Tell();  // under mutex_

  const PullContext& context_;
  std::mutex mutex_;
  PullProgress progress_;
  uint64_t untold_bytes_ = 0;
};

}  // namespace caisson::image
