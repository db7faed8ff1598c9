// SPDX-License-Identifier: Apache-2.0
#include "image/pull_progress.h"

#include <algorithm>

namespace caisson::image {
namespace {
constexpr uint64_t kTellBytes = 256 << 10;  // between two calls of the progress function
}  // namespace

LayersProgress::LayersProgress(const PullContext& context, const Manifest& manifest) : context_(context) {
  for (const LayerDescriptor& layer : manifest.layers) {
    progress_.layers.push_back({.digest = layer.descriptor.digest, .bytes_total = layer.descriptor.size});
    progress_.bytes_total += layer.descriptor.size;
  }
  const std::lock_guard lock(mutex_);
  Tell();
}

LayerListener LayersProgress::ListenerOf(size_t layer) {
  return {.on_state = [this, layer](LayerProgress::State state) { SetState(layer, state); },
          .on_bytes = [this, layer](uint64_t bytes) { AddBytes(layer, bytes); }};
}

void LayersProgress::SetState(size_t layer, LayerProgress::State state) {
  const std::lock_guard lock(mutex_);
  LayerProgress& entry = progress_.layers[layer];
  entry.state = state;
  const bool complete = state == LayerProgress::kDone || state == LayerProgress::kCached;
  if (complete || state == LayerProgress::kDownloading) {  // which may begin anew
    const uint64_t now = complete ? entry.bytes_total : 0;
    progress_.bytes_done = progress_.bytes_done - entry.bytes_done + now;
    entry.bytes_done = now;
  }
  Tell();
}

void LayersProgress::AddBytes(size_t layer, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  LayerProgress& entry = progress_.layers[layer];
  bytes = std::min(bytes, entry.bytes_total - entry.bytes_done);
  entry.bytes_done += bytes;
  progress_.bytes_done += bytes;
  untold_bytes_ += bytes;
  if (untold_bytes_ >= kTellBytes) Tell();
}

void LayersProgress::Tell() {
  untold_bytes_ = 0;
  if (context_.progress) context_.progress(progress_);
}

}  // namespace caisson::image
