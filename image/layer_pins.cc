// SPDX-License-Identifier: Apache-2.0
#include "image/layer_pins.h"

#include <chrono>

#include "base/crypto/crypto.h"

namespace caisson::image {
namespace {
constexpr std::chrono::milliseconds kLookAtCaller{100};  // whether it has cancelled
}  // namespace

LayerName RecordPin(const Digest& manifest) { return LayerName::Of(Sha256Of("record " + manifest.hex())); }

LayerName BlobPin(const Digest& blob) { return LayerName::Of(Sha256Of("blob " + blob.hex())); }

LayerPins::Pin::~Pin() {
  if (!pins_) return;
  const std::lock_guard lock(pins_->mutex_);
  for (const LayerName& name : names_)
    if (const auto found = pins_->pinned_.find(name); --found->second == 0) pins_->pinned_.erase(found);
}

Result<void> LayerPins::Pin::Add(const LayerName& name, const std::atomic<bool>* cancelled) {
  TRY(pins_->Add(name, cancelled));
  names_.push_back(name);
  return {};
}

Result<LayerPins::Pin> LayerPins::Take(std::span<const LayerName> names, const std::atomic<bool>* cancelled) {
  Pin pin(this);
  for (const LayerName& name : names) TRY(pin.Add(name, cancelled));
  return pin;
}

Result<void> LayerPins::Add(const LayerName& name, const std::atomic<bool>* cancelled) {
  std::unique_lock lock(mutex_);
  while (leaving_.contains(name)) {
    if (cancelled && cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
    changed_.wait_for(lock, kLookAtCaller);
  }
  ++pinned_[name];
  pinned_since_.insert(name);
  return {};
}

void LayerPins::BeginCollection() {
  const std::lock_guard lock(mutex_);
  pinned_since_.clear();
  for (const auto& [name, count] : pinned_) pinned_since_.insert(name);
}

std::optional<LayerPins::Removal> LayerPins::BeginRemoval(const LayerName& name) {
  const std::lock_guard lock(mutex_);
  if (pinned_.contains(name) || pinned_since_.contains(name)) return std::nullopt;
  leaving_.insert(name);
  return Removal(this, name);
}

bool LayerPins::IsPinned(const LayerName& name) {
  const std::lock_guard lock(mutex_);
  return pinned_.contains(name) || pinned_since_.contains(name);
}

LayerPins::Removal::~Removal() {
  if (!pins_) return;
  const std::lock_guard lock(pins_->mutex_);
  pins_->leaving_.erase(name_);
  pins_->changed_.notify_all();
}

}  // namespace caisson::image
